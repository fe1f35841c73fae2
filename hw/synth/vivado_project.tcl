# The accelerator in a block design with the processor system, down to bitstream and .xsa:
#
#     vivado -mode batch -source build.tcl
#
# Ends with exit code 1 if a step fails or timing is not met. Results: reports/*.rpt,
# reports/summary.txt, reports/strategies.txt, nbqnn.bit, nbqnn.xsa, and nbqnn.hwh for PYNQ.

set here [file dirname [file normalize [info script]]]
# part, board, top, masters, data_width, address_width, control_address, clock_mhz, jobs,
# strategies
source [file join $here settings.tcl]

set reports [file join $here reports]
file mkdir $reports

proc fail {message} {
    puts stderr "nbqnn: error: $message"
    exit 1
}

create_project -force nbqnn [file join $here project] -part $part
set board_part [lindex [get_board_parts -latest_file_version "*:$board:*"] 0]
if {$board_part eq ""} {
    fail "Vivado has no board files for $board; install them with its board store"
}
set_property board_part $board_part [current_project]
add_files -norecurse [lsort [glob [file join $here rtl *.v]]]
add_files -fileset constrs_1 -norecurse [file join $here board.xdc]
update_compile_order -fileset sources_1

# The block design: processor system, clock and reset, accelerator.
create_bd_design system
# The processor system's cell, ps, and the names of its pins.
source [file join $here processors.tcl]
set ps [create_processors]

set accelerator [create_bd_cell -type module -reference $top accelerator]
set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset]
set clocked [list ps/$ps_control_clock reset/slowest_sync_clk accelerator/aclk]
set held [list accelerator/aresetn]

# From one AXI interface to another, whatever their widths and versions.
proc bridge {name from to} {
    global clocked held
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name]
    set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 1] $cell
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $name/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] [get_bd_intf_pins $to]
    lappend clocked $name/aclk
    lappend held $name/aresetn
}

bridge control ps/$ps_control accelerator/s_axi
set port 0
foreach master $masters {
    bridge memory_$port accelerator/$master ps/[memory_port $port]
    lappend clocked ps/[memory_clock $port]
    incr port
}

foreach pin $clocked {
    connect_bd_net [get_bd_pins ps/$ps_clock] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins ps/$ps_reset] [get_bd_pins reset/ext_reset_in]
foreach pin $held {
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins accelerator/irq] [get_bd_pins ps/$ps_interrupt]

# Addresses: the registers where the driver looks for them, all of DDR for every master.
assign_bd_address -offset $control_address -range 4K \
    -target_address_space [get_bd_addr_spaces ps/Data] \
    [get_bd_addr_segs accelerator/s_axi/reg0]
set port 0
foreach master $masters {
    foreach segment [memory_segments $port] {
        assign_bd_address -target_address_space [get_bd_addr_spaces accelerator/$master] \
            [get_bd_addr_segs ps/$segment]
    }
    incr port
}
validate_bd_design
save_bd_design

set design [get_files system.bd]
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1

proc finish {run} {
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        fail "run $run ended with [get_property STATUS [get_runs $run]]"
    }
}

launch_runs synth_1 -jobs $jobs
finish synth_1

# One strategy after the other until the clock is met. Each has a run of its own. The one with most
# slack counts. reports/strategies.txt has the slack of each.
set tried [open [file join $reports strategies.txt] w]
set best ""
foreach strategy $strategies {
    if {$best eq ""} {
        set run impl_1
    } else {
        set run impl_$strategy
        copy_run -name $run [get_runs impl_1]
    }
    set_property strategy $strategy [get_runs $run]
    # Physical optimization once more, after routing.
    set_property STEPS.POST_ROUTE_PHYS_OPT_DESIGN.IS_ENABLED true [get_runs $run]
    set_property STEPS.POST_ROUTE_PHYS_OPT_DESIGN.ARGS.DIRECTIVE AggressiveExplore [get_runs $run]
    launch_runs $run -jobs $jobs
    finish $run
    set slack [get_property STATS.WNS [get_runs $run]]
    puts $tried "$strategy $slack"
    flush $tried
    if {$best eq "" || $slack > $best_slack} {
        set best $run
        set best_slack $slack
    }
    if {$slack >= 0} {
        break
    }
}
close $tried
launch_runs $best -to_step write_bitstream -jobs $jobs
finish $best

open_run $best
report_utilization -file [file join $reports route_utilization.rpt]
report_utilization -hierarchical -file [file join $reports route_hierarchy.rpt]
report_timing_summary -file [file join $reports route_timing.rpt]
set activity [file join $here activity.saif]
if {[file exists $activity]} {
    read_saif -strip_path system_wrapper $activity
}
report_power -file [file join $reports route_power.rpt]
report_route_status -file [file join $reports route_status.rpt]

set bitstream [lindex [glob [file join $here project nbqnn.runs $best *.bit]] 0]
file copy -force $bitstream [file join $here nbqnn.bit]
foreach folder {gen srcs} {
    foreach handoff [glob -nocomplain [file join $here project nbqnn.$folder sources_1 bd system \
            hw_handoff system.hwh]] {
        file copy -force $handoff [file join $here nbqnn.hwh]
    }
}
write_hw_platform -fixed -include_bit -force -file [file join $here nbqnn.xsa]

source [file join $here summary.tcl]
