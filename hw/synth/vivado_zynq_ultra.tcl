# The processor system of Zynq UltraScale+ in a block design: its pins, and what makes it.

set ps_clock pl_clk0
set ps_reset pl_resetn0
set ps_interrupt pl_ps_irq0
set ps_control M_AXI_HPM0_FPD
set ps_control_clock maxihpm0_fpd_aclk

proc memory_port {port} { return S_AXI_HP${port}_FPD }
proc memory_clock {port} { return saxihp${port}_fpd_aclk }

# S_AXI_GP2 to GP5 are the ports HP0 to HP3.
proc gp {port} { return [expr {$port + 2}] }

proc memory_segments {port} {
    global address_width
    set segments [list SAXIGP[gp $port]/HP${port}_DDR_LOW]
    if {$address_width >= 36} {
        lappend segments SAXIGP[gp $port]/HP${port}_DDR_HIGH
    }
    return $segments
}

proc create_processors {} {
    global masters data_width clock_mhz
    set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e \
        -config {apply_board_preset "1"} $ps
    set config [list \
        CONFIG.PSU__FPGA_PL0_ENABLE 1 \
        CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $clock_mhz \
        CONFIG.PSU__USE__M_AXI_GP0 1 \
        CONFIG.PSU__USE__M_AXI_GP1 0 \
        CONFIG.PSU__USE__M_AXI_GP2 0 \
        CONFIG.PSU__USE__IRQ0 1]
    for {set port 0} {$port < 4} {incr port} {
        set used [expr {$port < [llength $masters]}]
        lappend config CONFIG.PSU__USE__S_AXI_GP[gp $port] $used
        if {$used} {
            lappend config CONFIG.PSU__SAXIGP[gp $port]__DATA_WIDTH $data_width
        }
    }
    set_property -dict $config $ps
    return $ps
}
