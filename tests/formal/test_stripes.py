"""Several AXI ports as one, proved for all timings of two ports in the first cycles.

Every port counts its beats; a beat of both must hold the same count twice, and nothing may be lost,
doubled or out of step. Bursts of up to two beats, two outstanding; depth given with each proof.
"""

import pytest

from hw.rtl.axi import stripes
from hw.rtl.axi.stripes import StripedReader, StripedWriter
from hw.rtl.verilog import emit
from tests.formal.proofs import proven
from tests.nightly import NIGHTLY

OPTIONS = {
    "ports": 2,
    "address_width": 13,
    "data_width": 8,
    "outstanding": 2,
    "length_width": 2,
    "burst_beats": 2,
}
#: Cycles from the reset on.
DEPTH = 14 if NIGHTLY else 12

READER = """
module port(input clk, input rst, input valid, input ready, input [7:0] length, input r_valid,
            input [12:0] address, output r_last, output [7:0] r_data);
    // Answers in order, what is asked for; the data is the number of the beat.
    reg [7:0] lengths_ [0:1];
    reg head_, tail_;
    reg [7:0] beat_, count_;
    reg [1:0] outstanding_;
    assign r_last = beat_ == lengths_[tail_];
    assign r_data = count_;
    wire ended_ = r_valid && r_last;
    always @* assume(!r_valid || outstanding_ != 0);
    always @(posedge clk) begin
        if (valid && ready) lengths_[head_] <= length;
        head_ <= !rst && (head_ ^ (valid && ready));
        tail_ <= !rst && (tail_ ^ ended_);
        beat_ <= rst || ended_ ? 0 : beat_ + r_valid;
        count_ <= rst ? 0 : count_ + r_valid;
        outstanding_ <= rst ? 0 : outstanding_ + (valid && ready) - ended_;
    end
endmodule
module top(input clk, input rst, input [14:0] request, input request_valid, input ready,
           input stripe, input [1:0] a_ready, input [1:0] r_valid);
    wire [1:0] valid, r_last; wire [7:0] length0, length1, data0, data1;
    wire [12:0] address0, address1; wire request_ready; wire [16:0] data; wire data_valid;
    NAME dut(.clk(clk), .rst(rst), .request__payload(request), .request__valid(request_valid),
        .request__ready(request_ready), .stripe(stripe), .window_first(1'b0), .window_last(1'b1),
        .cancel(1'b0), .data__payload(data), .data__valid(data_valid), .data__ready(ready),
        .axi__0__araddr(address0), .axi__0__arlen(length0), .axi__0__arvalid(valid[0]),
        .axi__0__arready(a_ready[0]), .axi__0__rvalid(r_valid[0]), .axi__0__rlast(r_last[0]),
        .axi__0__rdata(data0), .axi__0__rresp(2'b0), .axi__0__rid(1'b0),
        .axi__1__araddr(address1), .axi__1__arlen(length1), .axi__1__arvalid(valid[1]),
        .axi__1__arready(a_ready[1]), .axi__1__rvalid(r_valid[1]), .axi__1__rlast(r_last[1]),
        .axi__1__rdata(data1), .axi__1__rresp(2'b0), .axi__1__rid(1'b0));
    port p0(clk, rst, valid[0], a_ready[0], length0, r_valid[0], address0, r_last[0], data0);
    port p1(clk, rst, valid[1], a_ready[1], length1, r_valid[1], address1, r_last[1], data1);
    reg live_, programmed_;
    reg [7:0] count_, asked_;
    wire [1:0] beats_ = request[14:13];
    always @(posedge clk) begin
        live_ <= 1;
        programmed_ <= stripe;
        count_ <= rst ? 0 : count_ + (data_valid && ready);
        asked_ <= rst ? 0 : asked_ + (request_valid && request_ready ? beats_ : 0);
    end
    always @* if (live_) begin
        assume(programmed_ == stripe);
        assert(!data_valid || (data[7:0] == count_ && data[15:8] == count_ && count_ < asked_));
    end
endmodule
"""
WRITER = """
module port(input clk, input rst, input valid, input ready, input w_valid, input w_ready,
            input w_last, input [7:0] w_data, input b_valid, output [1:0] answered);
    // Takes what comes and answers once for each burst; the data must be the number of the beat.
    reg [7:0] count_;
    reg [1:0] announced_, ended_, answered_;
    assign answered = answered_;
    always @* assume(!b_valid || (announced_ != answered_ && ended_ != answered_));
    always @* if (!rst && w_valid) assert(w_data == count_);
    always @(posedge clk) begin
        count_ <= rst ? 0 : count_ + (w_valid && w_ready);
        announced_ <= rst ? 0 : announced_ + (valid && ready);
        ended_ <= rst ? 0 : ended_ + (w_valid && w_ready && w_last);
        answered_ <= rst ? 0 : answered_ + b_valid;
    end
endmodule
module top(input clk, input rst, input [12:0] address, input request_valid, input data_valid,
           input stripe, input [1:0] a_ready, input [1:0] w_ready, input [1:0] b_valid);
    wire [1:0] valid, w_valid, w_last, answered0, answered1; wire [7:0] data0, data1;
    wire request_ready, ready, done;
    reg [7:0] count_;
    // Requests of one beat, so that each is one burst and one response on each port.
    NAME dut(.clk(clk), .rst(rst), .request__payload({2'd1, address}),
        .request__valid(request_valid), .request__ready(request_ready), .stripe(stripe),
        .window_first(1'b0), .window_last(1'b1), .cancel(1'b0), .done(done),
        .data__payload({count_, count_}), .data__valid(data_valid), .data__ready(ready),
        .axi__0__awvalid(valid[0]), .axi__0__awready(a_ready[0]), .axi__0__wdata(data0),
        .axi__0__wlast(w_last[0]), .axi__0__wvalid(w_valid[0]), .axi__0__wready(w_ready[0]),
        .axi__0__bvalid(b_valid[0]), .axi__0__bresp(2'b0), .axi__0__bid(1'b0),
        .axi__1__awvalid(valid[1]), .axi__1__awready(a_ready[1]), .axi__1__wdata(data1),
        .axi__1__wlast(w_last[1]), .axi__1__wvalid(w_valid[1]), .axi__1__wready(w_ready[1]),
        .axi__1__bvalid(b_valid[1]), .axi__1__bresp(2'b0), .axi__1__bid(1'b0));
    port p0(clk, rst, valid[0], a_ready[0], w_valid[0], w_ready[0], w_last[0], data0, b_valid[0],
            answered0);
    port p1(clk, rst, valid[1], a_ready[1], w_valid[1], w_ready[1], w_last[1], data1, b_valid[1],
            answered1);
    reg live_, programmed_;
    reg [1:0] done_;
    wire [1:0] ahead0_ = answered0 - done_, ahead1_ = answered1 - done_;
    always @(posedge clk) begin
        live_ <= 1;
        programmed_ <= stripe;
        count_ <= rst ? 0 : count_ + (data_valid && ready);
        done_ <= rst ? 0 : done_ + done;
    end
    // A request is done when both ports have been answered, not before.
    always @* if (live_) begin
        assume(programmed_ == stripe);
        assume(ahead0_ < 3 && ahead1_ < 3);
        assert(!done || (ahead0_ != 0 && ahead1_ != 0));
    end
endmodule
"""


def harness(component, text):
    design = component(**OPTIONS)
    return emit(design) + text.replace("NAME", design.module_name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("component", "text"), [(StripedReader, READER), (StripedWriter, WRITER)])
def test_in_step(component, text, tmp_path):
    assert proven(harness(component, text), "top", tmp_path, depth=DEPTH)


@pytest.mark.timeout(300)
def test_a_reader_out_of_step_is_found(tmp_path, monkeypatch):
    """One that hands on a beat when any port has its part."""
    monkeypatch.setattr(stripes, "and_", stripes.or_)
    assert not proven(harness(StripedReader, READER), "top", tmp_path, depth=DEPTH)


@pytest.mark.timeout(300)
def test_a_writer_out_of_step_is_found(tmp_path, monkeypatch):
    """One that takes a beat when any port has room, and is done when any port is."""
    monkeypatch.setattr(stripes, "and_", stripes.or_)
    assert not proven(harness(StripedWriter, WRITER), "top", tmp_path, depth=DEPTH)
