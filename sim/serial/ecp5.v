// Cells of the ECP5 of which Yosys has ports but no behaviour, as far as Yosys and our tops use
// them. After Lattice FPGA-TN-02204 (memory) and FPGA-TN-02200 (clocks).

// The simulated clock is that of the loop's output: input and output are the same here.
module EHXPLLL #(
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
    parameter CLKOP_ENABLE = "ENABLED", FEEDBK_PATH = "CLKOP", OUTDIVIDER_MUXA = "DIVA",
    parameter PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED", STDBY_ENABLE = "DISABLED",
    parameter DPHASE_SOURCE = "DISABLED"
) (
    input CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY,
    input PLLWAKESYNC, RST, ENCLKOP, ENCLKOS, ENCLKOS2, ENCLKOS3,
    output CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK, INTLOCK, REFCLK, CLKINTFB
);
    assign CLKOP = CLKI;
    assign LOCK = 1'b1;
endmodule

// 1,024 words of 18 bits; each half of a word is a byte of 8 bits and one more. A port of 1, 2 or 4
// bits never sees the ninth. A port of 36 bits is a writing A or a reading B, with the upper half
// on the other port's data pins. Contents at the start are zero: others would need INITVAL_*.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL",
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC",
    parameter ASYNC_RESET_RELEASE = "SYNC", CSDECODE_A = "0b000", CSDECODE_B = "0b000",
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB", GSR = "AUTO", INIT_DATA = "STATIC", WID = 0,
    parameter INITVAL_00 = 320'd0, INITVAL_01 = 320'd0, INITVAL_02 = 320'd0, INITVAL_03 = 320'd0,
    parameter INITVAL_04 = 320'd0, INITVAL_05 = 320'd0, INITVAL_06 = 320'd0, INITVAL_07 = 320'd0,
    parameter INITVAL_08 = 320'd0, INITVAL_09 = 320'd0, INITVAL_0A = 320'd0, INITVAL_0B = 320'd0,
    parameter INITVAL_0C = 320'd0, INITVAL_0D = 320'd0, INITVAL_0E = 320'd0, INITVAL_0F = 320'd0,
    parameter INITVAL_10 = 320'd0, INITVAL_11 = 320'd0, INITVAL_12 = 320'd0, INITVAL_13 = 320'd0,
    parameter INITVAL_14 = 320'd0, INITVAL_15 = 320'd0, INITVAL_16 = 320'd0, INITVAL_17 = 320'd0,
    parameter INITVAL_18 = 320'd0, INITVAL_19 = 320'd0, INITVAL_1A = 320'd0, INITVAL_1B = 320'd0,
    parameter INITVAL_1C = 320'd0, INITVAL_1D = 320'd0, INITVAL_1E = 320'd0, INITVAL_1F = 320'd0,
    parameter INITVAL_20 = 320'd0, INITVAL_21 = 320'd0, INITVAL_22 = 320'd0, INITVAL_23 = 320'd0,
    parameter INITVAL_24 = 320'd0, INITVAL_25 = 320'd0, INITVAL_26 = 320'd0, INITVAL_27 = 320'd0,
    parameter INITVAL_28 = 320'd0, INITVAL_29 = 320'd0, INITVAL_2A = 320'd0, INITVAL_2B = 320'd0,
    parameter INITVAL_2C = 320'd0, INITVAL_2D = 320'd0, INITVAL_2E = 320'd0, INITVAL_2F = 320'd0,
    parameter INITVAL_30 = 320'd0, INITVAL_31 = 320'd0, INITVAL_32 = 320'd0, INITVAL_33 = 320'd0,
    parameter INITVAL_34 = 320'd0, INITVAL_35 = 320'd0, INITVAL_36 = 320'd0, INITVAL_37 = 320'd0,
    parameter INITVAL_38 = 320'd0, INITVAL_39 = 320'd0, INITVAL_3A = 320'd0, INITVAL_3B = 320'd0,
    parameter INITVAL_3C = 320'd0, INITVAL_3D = 320'd0, INITVAL_3E = 320'd0, INITVAL_3F = 320'd0
) (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    input DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    output DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    input DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    output DOB4, DOB3, DOB2, DOB1, DOB0
);
    wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3,
                             ADA2, ADA1, ADA0};
    wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3,
                             ADB2, ADB1, ADB0};
    wire [17:0] write_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
                           DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] write_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
                           DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [35:0] read_a, read_b;
    // The pins of B carry the upper half of a 36-bit word of B, those of A the lower half.
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
            DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? read_b[17:0] : read_a[17:0];
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
            DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? read_b[35:18] : read_b[17:0];

    reg [35:0] memory [0:511];
    integer word;
    initial for (word = 0; word < 512; word = word + 1) memory[word] = 36'd0;

    wire [35:0] mask_a, mask_b, data_a, data_b;
    nbqnn_dp16kd_place #(DATA_WIDTH_A) place_a (address_a, {write_b, write_a}, mask_a, data_a);
    nbqnn_dp16kd_place #(DATA_WIDTH_B) place_b (address_b, {18'd0, write_b}, mask_b, data_b);
    wire [35:0] old_a = memory[address_a[13:5]], old_b = memory[address_b[13:5]];
    wire [35:0] new_a = old_a & ~mask_a | data_a & mask_a;
    wire [35:0] new_b = old_b & ~mask_b | data_b & mask_b;

    always @(posedge CLKA) if (CEA && WEA) memory[address_a[13:5]] <= new_a;
    always @(posedge CLKB) if (CEB && WEB) memory[address_b[13:5]] <= new_b;

    nbqnn_dp16kd_read #(DATA_WIDTH_A, WRITEMODE_A) port_a (
        CLKA, CEA, WEA, RSTA, address_a, old_a, new_a, read_a);
    nbqnn_dp16kd_read #(DATA_WIDTH_B, WRITEMODE_B) port_b (
        CLKB, CEB, WEB, RSTB, address_b, old_b, new_b, read_b);
endmodule

// Which bits of 36 a write reaches, and what it puts there.
module nbqnn_dp16kd_place #(parameter WIDTH = 18) (
    input [13:0] address, input [35:0] value, output [35:0] mask, output [35:0] data
);
    // A bit, pair or nibble lies in the low eight bits of the byte that bits 4 and 3 choose.
    wire [5:0] low = 9 * address[4:3] + (WIDTH == 1 ? address[2:0] : WIDTH == 2 ? {address[2:1], 1'b0}
                     : WIDTH == 4 ? {address[2], 2'b00} : 0);
    wire [35:0] half = {{9{address[1]}}, {9{address[0]}}};
    assign mask = WIDTH == 36 ? {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}}
                : WIDTH == 18 ? half << (address[4] ? 18 : 0)
                : ((36'd1 << WIDTH) - 36'd1) << low;
    assign data = WIDTH == 36 ? value
                : WIDTH == 18 ? value[17:0] << (address[4] ? 18 : 0)
                : value << low;
endmodule

// The output register of a port.
module nbqnn_dp16kd_read #(parameter WIDTH = 18, parameter MODE = "NORMAL") (
    input clk, enable, write, reset, input [13:0] address, input [35:0] stored, written,
    output reg [35:0] value
);
    wire [35:0] word = MODE == "WRITETHROUGH" && write ? written : stored;
    wire [5:0] low = 9 * address[4:3] + (WIDTH == 1 ? address[2:0] : WIDTH == 2 ? {address[2:1], 1'b0}
                     : WIDTH == 4 ? {address[2], 2'b00} : 0);
    wire [35:0] chosen = WIDTH == 36 ? word : WIDTH == 18 ? word >> (address[4] ? 18 : 0) : word >> low;
    initial value = 36'd0;
    always @(posedge clk)
        if (reset) value <= 36'd0;
        else if (enable && !(write && MODE == "NORMAL")) value <= chosen;
endmodule
