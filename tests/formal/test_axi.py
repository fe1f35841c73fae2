"""The AXI rules on the masters, proved for all inputs of the first cycles after a reset.

Bounded proofs of small readers and writers: bursts of up to four beats, two outstanding, every
request, window and behaviour of the bus that AXI allows. A cycle limit is given with each proof;
it reaches several bursts, each direction's limit of outstanding ones, pages' ends and cancellation.
Each property is also seen to fail on a design that breaks it.
"""

import sys
import types
from pathlib import Path

import pytest

from hw.rtl.axi import bursts
from hw.rtl.axi.read_dma import AxiReader
from hw.rtl.axi.write_dma import AxiWriter
from hw.rtl.verilog import emit
from tests.formal.proofs import proven
from tests.nightly import NIGHTLY

OPTIONS = {
    "address_width": 14,
    "data_width": 16,
    "outstanding": 2,
    "length_width": 4,
    "burst_beats": 4,
}
#: Cycles from the reset on.
READ_DEPTH, WRITE_DEPTH, MUTANT_DEPTH = (18, 16, 12) if NIGHTLY else (13, 12, 12)

#: What both directions' addresses obey, for a channel ar or aw. Ghost state ends in an underscore.
ADDRESS = """
    // Stable while they wait.
    reg waiting_;
    reg [26:0] offered_;
    wire [26:0] offer_ = {a_addr, a_len, a_size, a_burst};
    always @(posedge clk) begin
        waiting_ <= !rst && a_valid && !a_ready;
        offered_ <= offer_;
    end
    always @* if (live_ && waiting_) assert(a_valid && offer_ == offered_);
    // Whole beats, incrementing, in one page, in the window.
    wire [13:0] end_ = a_addr + {a_len, 1'b1};
    always @* if (live_ && a_valid) begin
        assert(a_size == 1 && a_burst == 1 && !a_addr[0]);
        assert(a_addr[13:12] == end_[13:12] && a_len < 4);
        assert(page_ >= first && page_ <= last);
    end
    // A page before the offset is added.
    wire [1:0] page_ = a_addr[13:12] - offset;
    // While cancelling, which lasts until all is quiet, nothing is announced that did not wait.
    reg held_, cancelled_;
    always @(posedge clk) held_ <= !rst && cancel && busy;
    always @* if (live_) assume(!held_ || cancel);
    always @(posedge clk) cancelled_ <= !rst && cancel && !(a_valid && !a_ready);
    always @* if (live_ && cancelled_) assert(!a_valid);
    // Two outstanding.
    reg [2:0] outstanding_;
    always @(posedge clk)
        outstanding_ <= rst ? 0 : outstanding_ + (a_valid && a_ready) - ended_;
    always @* if (live_) assert(outstanding_ + a_valid <= 2 + waiting_ + (a_valid && !waiting_)
                                && outstanding_ <= 2);
    // Where there is a single request: its bursts follow each other, none missing, none too much.
    reg seen_, undisturbed_;
    reg [13:0] next_;
    reg [4:0] left_;
    wire taken_ = request_valid && request_ready;
    wire first_offer_ = a_valid && !waiting_;
    always @(posedge clk) begin
        seen_ <= !rst && (seen_ || taken_);
        undisturbed_ <= rst || (undisturbed_ && !cancel);
        if (first_offer_) begin
            next_ <= next_ + 2 * (a_len + 1);
            left_ <= left_ - a_len - 1;
        end
        if (taken_) begin
            left_ <= request[17:14];
            next_ <= {request[13:1], 1'b0} + {offset, 12'b0};
        end
    end
    always @* if (live_ && single) begin
        assume(!seen_ || !request_valid);
        assert(!first_offer_ || (a_addr == next_ && a_len < left_));
        if (seen_ && undisturbed_ && !busy) assert(left_ == 0);
    end
    // Programmed before the run.
    reg [6:0] programmed_;
    always @(posedge clk) programmed_ <= {first, last, offset, single};
    always @* if (live_) assume(programmed_ == {first, last, offset, single});
"""
READER = """
module top(input clk, input rst, input [17:0] request, input request_valid, input ready,
           input cancel, input single, input [1:0] first, input [1:0] last, input [1:0] offset,
           input a_ready, input r_valid, input [1:0] r_resp, input [15:0] r_data);
    wire [13:0] a_addr; wire [7:0] a_len; wire [2:0] a_size; wire [1:0] a_burst; wire a_valid;
    wire r_ready, request_ready, busy;
    NAME dut(.request__ready(request_ready), .busy(busy), .clk(clk), .rst(rst),
        .request__payload(request), .request__valid(request_valid),
        .data__ready(ready), .cancel(cancel), .window_first(first), .window_last(last),
        .offset(offset), .axi__araddr(a_addr), .axi__arlen(a_len), .axi__arsize(a_size),
        .axi__arburst(a_burst), .axi__arvalid(a_valid), .axi__arready(a_ready),
        .axi__rvalid(r_valid), .axi__rlast(r_last_), .axi__rresp(r_resp), .axi__rdata(r_data),
        .axi__rready(r_ready), .axi__rid(1'b0));
    reg live_;
    always @(posedge clk) live_ <= 1;
    // The bus answers bursts in order, beat by beat, once they were accepted.
    reg [7:0] lengths_ [0:1];
    reg head_, tail_;
    reg [7:0] beat_;
    wire r_last_ = beat_ == lengths_[tail_];
    wire ended_ = r_valid && r_ready && r_last_;
    always @* if (live_) assume(!r_valid || outstanding_ != 0);
    always @(posedge clk) begin
        if (a_valid && a_ready) lengths_[head_] <= a_len;
        head_ <= !rst && (head_ ^ (a_valid && a_ready));
        tail_ <= !rst && (tail_ ^ ended_);
        beat_ <= rst || ended_ ? 0 : beat_ + (r_valid && r_ready);
    end
    // Data is always taken, and there is room for it.
    always @* if (live_) assert(r_ready);
ADDRESS
endmodule
"""
WRITER = """
module top(input clk, input rst, input [17:0] request, input request_valid, input [15:0] data,
           input data_valid, input cancel, input single, input [1:0] first,
           input [1:0] last, input [1:0] offset, input a_ready, input w_ready, input b_valid,
           input [1:0] b_resp);
    wire [13:0] a_addr; wire [7:0] a_len; wire [2:0] a_size; wire [1:0] a_burst; wire a_valid;
    wire [15:0] w_data; wire w_last, w_valid, b_ready, request_ready, busy;
    NAME dut(.request__ready(request_ready), .busy(busy), .clk(clk), .rst(rst),
        .request__payload(request), .request__valid(request_valid),
        .data__payload(data), .data__valid(data_valid), .cancel(cancel), .window_first(first),
        .window_last(last), .offset(offset), .axi__awaddr(a_addr), .axi__awlen(a_len),
        .axi__awsize(a_size), .axi__awburst(a_burst), .axi__awvalid(a_valid),
        .axi__awready(a_ready), .axi__wdata(w_data), .axi__wlast(w_last), .axi__wvalid(w_valid),
        .axi__wready(w_ready), .axi__bvalid(b_valid), .axi__bresp(b_resp), .axi__bready(b_ready),
        .axi__bid(1'b0));
    reg live_;
    always @(posedge clk) live_ <= 1;
    // Stable while it waits.
    reg w_waiting_;
    reg [16:0] w_offered_;
    always @(posedge clk) begin
        w_waiting_ <= !rst && w_valid && !w_ready;
        w_offered_ <= {w_data, w_last};
    end
    always @* if (live_ && w_waiting_) assert(w_valid && {w_data, w_last} == w_offered_);
    // Data belongs to bursts that have been announced, in order, and ends with them. A burst counts
    // from the cycle in which it is first offered.
    reg [7:0] lengths_ [0:3];
    reg [1:0] head_, tail_, done_;
    reg [7:0] beat_;
    wire announced_ = a_valid && !waiting_;
    wire w_ended_ = w_valid && w_ready && w_last;
    always @(posedge clk) begin
        if (announced_) lengths_[head_] <= a_len;
        head_ <= rst ? 0 : head_ + announced_;
        tail_ <= rst ? 0 : tail_ + w_ended_;
        beat_ <= rst || w_ended_ ? 0 : beat_ + (w_valid && w_ready);
    end
    always @* if (live_ && w_valid) begin
        assert(head_ != tail_);
        assert(w_last == (beat_ == lengths_[tail_]));
    end
    // A response comes after a burst's address and last beat.
    wire ended_ = b_valid && b_ready;
    always @(posedge clk) done_ <= rst ? 0 : done_ + ended_;
    always @* if (live_) assume(!b_valid || (outstanding_ != 0 && done_ != tail_));
    always @* if (live_) assert(b_ready);
ADDRESS
endmodule
"""


def harness(component, text):
    """A Verilog text whose module ``top`` asserts the rules on a small one of the component."""
    design = component(**OPTIONS)
    return emit(design) + text.replace("NAME", design.module_name).replace("ADDRESS", ADDRESS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("component", "text", "depth"),
    [(AxiReader, READER, READ_DEPTH), (AxiWriter, WRITER, WRITE_DEPTH)],
    ids=["reader", "writer"],
)
def test_rules(component, text, depth, tmp_path):
    assert proven(harness(component, text), "top", tmp_path, depth=depth)


def mutated(monkeypatch, file, old, new):
    """Readers and writers from sources of which one line is another."""
    modules = {}
    for name in ("bursts", "master", "read_dma", "write_dma"):
        path = Path(bursts.__file__).with_name(f"{name}.py")
        source = path.read_text(encoding="utf-8")
        if name == file:
            assert source.count(old) == 1, source.count(old)
            source = source.replace(old, new)
        module = types.ModuleType(f"hw.rtl.axi.{name}")
        exec(compile(source, str(path), "exec"), module.__dict__)
        # The others import what was changed.
        monkeypatch.setitem(sys.modules, f"hw.rtl.axi.{name}", module)
        modules[name] = module
    return modules["read_dma"].AxiReader, modules["write_dma"].AxiWriter


#: File, what stands there, and what would break a rule.
MUTANTS = {
    "withdrawn": ("master", "with m.If(taken):", "with m.If(1):"),
    "unstable": ("master", "(taken | ~valid) & may_issue", "may_issue"),
    "outstanding": ("master", "(bursts != self.outstanding)", "(bursts != 3)"),
    "cancelled": ("master", "issue.eq(burst.valid & ready & ~self.cancel)",
                  "issue.eq(burst.valid & ready)"),
}  # fmt: skip
READER_MUTANTS = MUTANTS | {
    "page": ("bursts", "to_boundary.eq(to_go)", "to_boundary.eq(self.burst_beats)"),
    "before the window": ("bursts", "not_below & ", ""),
    "behind the window": ("bursts", " & not_above", ""),
    "next page": ("bursts", "ends_page = last_in_page & (s.left >= to_boundary)",
                  "ends_page = Const(0)"),
}  # fmt: skip
WRITER_MUTANTS = MUTANTS | {
    "data withdrawn": ("write_dma", "axi.wvalid.eq(skid.o.valid)",
                       "axi.wvalid.eq(skid.o.valid & self.data.valid)"),
    "last": ("write_dma", "ends_burst.eq(following == lengths.o.p.length)",
             "ends_burst.eq(following == 1)"),
    "single": ("write_dma", "Mux(first, lengths.o.p.single, ends_burst)", "ends_burst"),
    "unannounced": ("write_dma", "skid.i.valid.eq(buffer.o.valid & lengths.o.valid)",
                    "skid.i.valid.eq(buffer.o.valid)"),
}  # fmt: skip


@pytest.mark.parametrize("name", READER_MUTANTS)
def test_a_broken_reader_is_found(name, tmp_path, monkeypatch):
    reader, _ = mutated(monkeypatch, *READER_MUTANTS[name])
    assert not proven(harness(reader, READER), "top", tmp_path, depth=MUTANT_DEPTH)


@pytest.mark.parametrize("name", WRITER_MUTANTS)
def test_a_broken_writer_is_found(name, tmp_path, monkeypatch):
    _, writer = mutated(monkeypatch, *WRITER_MUTANTS[name])
    assert not proven(harness(writer, WRITER), "top", tmp_path, depth=MUTANT_DEPTH)
