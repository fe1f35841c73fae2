# The processor system of Zynq-7000 in a block design: its pins, and what makes it.

set ps_clock FCLK_CLK0
set ps_reset FCLK_RESET0_N
set ps_interrupt IRQ_F2P
set ps_control M_AXI_GP0
set ps_control_clock M_AXI_GP0_ACLK

proc memory_port {port} { return S_AXI_HP${port} }
proc memory_clock {port} { return S_AXI_HP${port}_ACLK }
proc memory_segments {port} { return [list S_AXI_HP${port}/HP${port}_DDR_LOWOCM] }

proc create_processors {} {
    global masters data_width clock_mhz
    set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7 ps]
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \
        -config {make_external "FIXED_IO, DDR" apply_board_preset "1"} $ps
    set config [list \
        CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $clock_mhz \
        CONFIG.PCW_USE_M_AXI_GP0 1 \
        CONFIG.PCW_USE_FABRIC_INTERRUPT 1 \
        CONFIG.PCW_IRQ_F2P_INTR 1]
    for {set port 0} {$port < 4} {incr port} {
        set used [expr {$port < [llength $masters]}]
        lappend config CONFIG.PCW_USE_S_AXI_HP${port} $used
        if {$used} {
            lappend config CONFIG.PCW_S_AXI_HP${port}_DATA_WIDTH $data_width
        }
    }
    set_property -dict $config $ps
    return $ps
}
