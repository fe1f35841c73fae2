// A test bench for any simulator: loads the memory, runs one program, compares its outputs.
//
// In the folder of this file, with Icarus Verilog for example:
//     iverilog -g2012 -o run testbench.v ../rtl/nbqnn.v && vvp run
//
// memory.hex    what is in the memory at first: program, parameters, input
// expected.hex  the outputs that the network's interpreter gives, where they have to be
// mask.hex      which bits of them count; the others are of channels that there are not

`timescale 1ns / 1ps

module testbench;
  localparam BASE = $base;
  localparam BYTES = $bytes;
  localparam LONGEST = $longest;  // cycles until the interrupt

  reg clk;
  reg rst;
  reg [7:0] memory [0:BYTES-1];
  reg [7:0] expected [0:BYTES-1];
  reg [7:0] mask [0:BYTES-1];

  wire irq;
$wires

  reg [11:0] awaddr, araddr;
  reg awvalid, wvalid, arvalid;
  reg [31:0] wdata;
  assign s_axi_awaddr = awaddr;
  assign s_axi_awprot = 3'd0;
  assign s_axi_awvalid = awvalid;
  assign s_axi_wdata = wdata;
  assign s_axi_wstrb = 4'hf;
  assign s_axi_wvalid = wvalid;
  assign s_axi_bready = 1'b1;
  assign s_axi_araddr = araddr;
  assign s_axi_arprot = 3'd0;
  assign s_axi_arvalid = arvalid;
  assign s_axi_rready = 1'b1;

  $top dut(
    .clk(clk),
    .rst(rst),
$connections
  );
$memory_ports

  initial clk = 1'b0;
  always #2 clk = ~clk;

  // Everything that the bench drives changes after the clock's edge.
  task write(input [11:0] address, input [31:0] value);
    reg address_left, data_left;
    begin
      awaddr <= address;
      wdata <= value;
      awvalid <= 1'b1;
      wvalid <= 1'b1;
      address_left = 1'b1;
      data_left = 1'b1;
      while (address_left | data_left) begin
        @(posedge clk);
        if (s_axi_awready) begin
          awvalid <= 1'b0;
          address_left = 1'b0;
        end
        if (s_axi_wready) begin
          wvalid <= 1'b0;
          data_left = 1'b0;
        end
      end
      @(posedge clk);
      while (!s_axi_bvalid) @(posedge clk);
      if (s_axi_bresp != 2'd0) fail("a register could not be written");
    end
  endtask

  task read(input [11:0] address, output [31:0] value);
    begin
      araddr <= address;
      arvalid <= 1'b1;
      @(posedge clk);
      while (!s_axi_arready) @(posedge clk);
      arvalid <= 1'b0;
      @(posedge clk);
      while (!s_axi_rvalid) @(posedge clk);
      value = s_axi_rdata;
      if (s_axi_rresp != 2'd0) fail("a register could not be read");
    end
  endtask

  task fail(input [8*64-1:0] reason);
    begin
      $$display("FAIL: %0s", reason);
      $$finish;
      // The simulation ends with this time step.
      forever #1000 ;
    end
  endtask

  task check_there(input [8*12-1:0] name);
    integer file;
    begin
      file = $$fopen(name, "r");
      if (file == 0) begin
        $$display("%0s cannot be read", name);
        fail("the simulator must run in the folder of the bench");
      end
      $$fclose(file);
    end
  endtask

  integer i, waited, compared, wrong;
  reg [31:0] value;
  initial begin
    for (i = 0; i < BYTES; i = i + 1) begin
      memory[i] = 8'h00;
      expected[i] = 8'h00;
      mask[i] = 8'h00;
    end
    check_there("memory.hex");
    check_there("expected.hex");
    check_there("mask.hex");
    $$readmemh("memory.hex", memory);
    $$readmemh("expected.hex", expected);
    $$readmemh("mask.hex", mask);
    rst = 1'b1;
    awvalid = 1'b0;
    wvalid = 1'b0;
    arvalid = 1'b0;
    repeat (16) @(posedge clk);
    rst <= 1'b0;
    repeat (16) @(posedge clk);
    read($identity_offset, value);
    // Unknown bits are wrong here, too.
    if (value !== $identity) fail("the identity is another one");
    read($digest_offset, value);
    if (value !== $digest) fail("the accelerator has another configuration");
$writes
    waited = 0;
    while (irq !== 1'b1) begin
      @(posedge clk);
      waited = waited + 1;
      if (waited == LONGEST) fail("no interrupt in time");
    end
    read($status_offset, value);
    if (value !== $done) begin
      read($cause_offset, value);
      $$display("error cause %0d", value);
      fail("the run ended with an error");
    end
    compared = 0;
    wrong = 0;
    for (i = 0; i < BYTES; i = i + 1)
      if (mask[i] != 8'h00) begin
        compared = compared + 1;
        // Unknown bits are wrong.
        if ((memory[i] & mask[i]) !== (expected[i] & mask[i])) begin
          if (wrong < 10)
            $$display("address %h: %h, not %h", BASE + i, memory[i] & mask[i], expected[i]);
          wrong = wrong + 1;
        end
      end
    read($cycles_offset, value);
    if (wrong != 0 || compared == 0) begin
      $$display("%0d of %0d bytes are wrong", wrong, compared);
      fail("the outputs are not those of the interpreter");
    end
    $$display("PASS: %0d bytes of outputs as expected, %0d cycles", compared, value);
    $$finish;
  end
endmodule


// One AXI4 port of the memory: a burst of each direction at a time, a beat per cycle.
module memory_port #(
    parameter ADDRESS_WIDTH = 32,
    parameter DATA_WIDTH = 32,
    parameter [63:0] BASE = 0,
    parameter [63:0] BYTES = 4096
) (
    input clk,
    input rst,
    input arid,
    input [ADDRESS_WIDTH-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input [3:0] arcache,
    input [2:0] arprot,
    input arvalid,
    output arready,
    output rid,
    output reg [DATA_WIDTH-1:0] rdata,
    output [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input rready,
    input awid,
    input [ADDRESS_WIDTH-1:0] awaddr,
    input [7:0] awlen,
    input [2:0] awsize,
    input [1:0] awburst,
    input [3:0] awcache,
    input [2:0] awprot,
    input awvalid,
    output awready,
    input [DATA_WIDTH-1:0] wdata,
    input [DATA_WIDTH/8-1:0] wstrb,
    input wlast,
    input wvalid,
    output wready,
    output bid,
    output [1:0] bresp,
    output reg bvalid,
    input bready
);
  localparam STEP = DATA_WIDTH / 8;

  reg reading, writing;
  reg [63:0] read_offset, write_offset;
  reg [7:0] read_left;
  integer i;

  assign arready = !reading;
  assign awready = !writing && !bvalid;
  assign wready = writing;
  assign rid = 1'b0;
  assign bid = 1'b0;
  assign rresp = 2'd0;
  assign bresp = 2'd0;

  always @(posedge clk)
    if (rst) begin
      reading <= 1'b0;
      writing <= 1'b0;
      rvalid <= 1'b0;
      bvalid <= 1'b0;
    end else begin
      if (arvalid && arready) begin
        reading <= 1'b1;
        read_offset <= araddr - BASE;
        read_left <= arlen;
      end
      if (reading && (!rvalid || rready)) begin
        for (i = 0; i < STEP; i = i + 1) rdata[8*i +: 8] <= testbench.memory[read_offset + i];
        rlast <= read_left == 8'd0;
        rvalid <= 1'b1;
        reading <= read_left != 8'd0;
        read_offset <= read_offset + STEP;
        read_left <= read_left - 8'd1;
      end else if (rready) begin
        rvalid <= 1'b0;
      end

      if (awvalid && awready) begin
        writing <= 1'b1;
        write_offset <= awaddr - BASE;
      end
      if (wvalid && wready) begin
        for (i = 0; i < STEP; i = i + 1)
          if (wstrb[i]) testbench.memory[write_offset + i] = wdata[8*i +: 8];
        write_offset <= write_offset + STEP;
        writing <= !wlast;
        bvalid <= wlast;
      end else if (bready) begin
        bvalid <= 1'b0;
      end

      // Beyond the memory nothing can be read, and what is written there is lost.
      if (reading && read_offset >= BYTES) testbench.fail("a read outside the memory");
      if (writing && write_offset >= BYTES) testbench.fail("a write outside the memory");
    end
endmodule
