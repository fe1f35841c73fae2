// What AMD UG579 says of the DSP48E2, as far as this project's blocks use it: registers of A, B, D,
// the sum of A and D, C, the product and the sum; four operands of the last addition, its signs.
// Yosys has no model of its own. Anything else makes P unknown by the parameter `known`.
module DSP48E2 #(
  parameter integer ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1,
  parameter integer CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1,
  parameter integer MREG = 1, OPMODEREG = 1, PREG = 1,
  parameter AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A", USE_MULT = "MULTIPLY",
  parameter [47:0] RND = 48'h0
) (
  input CLK,
  input signed [29:0] A, ACIN, input signed [17:0] B, BCIN, input [47:0] C, PCIN,
  input signed [26:0] D, input [3:0] ALUMODE, input [4:0] INMODE, input [8:0] OPMODE,
  input [2:0] CARRYINSEL,
  input CARRYIN, CARRYCASCIN, MULTSIGNIN, CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN,
  input CECTRL, CED, CEINMODE, CEM, CEP, RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL,
  input RSTD, RSTINMODE, RSTM, RSTP,
  output [47:0] P, PCOUT
);
  localparam known = ACASCREG == 1 && ADREG <= 1 && ALUMODEREG == 0 && AREG == 1 && BREG >= 1
    && (BCASCREG == BREG || BCASCREG == 1) && CARRYINREG == 0 && CARRYINSELREG == 0 && CREG <= 1
    && DREG == 1 && INMODEREG == 0 && MREG == 1 && OPMODEREG == 0 && PREG == 1
    && AMULTSEL == "AD" && BMULTSEL == "B" && PREADDINSEL == "A" && USE_MULT == "MULTIPLY";
  wire enabled = CEA2 && (CEAD || ADREG == 0) && CEB2 && (CEB1 || BREG < 2) && CEC && CED && CEM && CEP;
  wire reset = RSTA || RSTALLCARRYIN || RSTALUMODE || RSTB || RSTC || RSTCTRL || RSTD || RSTINMODE
    || RSTM || RSTP;
  wire usual = known && enabled && !reset && !CARRYIN && CARRYINSEL == 0 && INMODE[4] == 0
    && INMODE[1:0] == 0;

  reg signed [29:0] a2;
  reg signed [26:0] d, ad1;
  reg signed [17:0] b1, b2;
  reg [47:0] c1;
  reg signed [44:0] m;
  reg [47:0] p;
  // INMODE[2] lets D in, INMODE[3] subtracts A from it.
  wire signed [26:0] d_in = INMODE[2] ? d : 27'sd0;
  wire signed [26:0] a_in = a2[26:0];
  wire signed [26:0] joined = INMODE[3] ? d_in - a_in : d_in + a_in;
  wire signed [26:0] ad = ADREG == 1 ? ad1 : joined;
  wire [47:0] c = CREG == 1 ? c1 : C;
  wire [47:0] product = {{3{m[44]}}, m};
  wire multiplies = OPMODE[3:0] == 4'b0101;
  wire [47:0] w = OPMODE[8:7] == 0 ? 48'h0 : OPMODE[8:7] == 1 ? p : OPMODE[8:7] == 2 ? RND : c;
  wire [47:0] z = OPMODE[6:4] == 3'b001 ? PCIN : OPMODE[6:4] == 3'b011 ? c
    : OPMODE[6:4] == 3'b010 ? p : 48'h0;
  wire [47:0] xy = multiplies ? product : 48'h0;
  wire [47:0] sum = ALUMODE == 4'b0000 ? z + w + xy : ALUMODE == 4'b0011 ? z - w - xy
    : ALUMODE == 4'b0001 ? w + xy - z - 48'h1 : ~(z + w + xy);
  always @(posedge CLK) begin
    a2 <= A;
    d <= D;
    ad1 <= joined;
    b1 <= B;
    b2 <= BREG == 2 ? b1 : B;
    c1 <= C;
    m <= ad * b2;
    p <= sum;
  end
  assign P = usual ? p : 48'hx;
  assign PCOUT = P;
endmodule
