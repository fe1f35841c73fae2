# Synthesis and implementation of the accelerator on its own (out of context), in batch mode:
#
#     vivado -mode batch -source build.tcl
#
# Ends with exit code 1 if Vivado reports an error or the clock constraint is not met.
# Results: reports/*.rpt, reports/summary.txt, checkpoints/*.dcp.

set here [file dirname [file normalize [info script]]]
# part, top, clock_mhz
source [file join $here settings.tcl]

set reports [file join $here reports]
set checkpoints [file join $here checkpoints]
file mkdir $reports $checkpoints

proc report_stage {stage} {
    global reports
    report_utilization -file [file join $reports ${stage}_utilization.rpt]
    report_utilization -hierarchical -file [file join $reports ${stage}_hierarchy.rpt]
    report_timing_summary -file [file join $reports ${stage}_timing.rpt]
}

# In memory: no project files, so the folder can be built again from scratch at any time.
create_project -in_memory -part $part
read_verilog [file join $here rtl nbqnn.v]
read_xdc [file join $here constraints.xdc]

# Ports stay without pads: what surrounds the accelerator in a real design is not there.
synth_design -top $top -part $part -mode out_of_context
write_checkpoint -force [file join $checkpoints synth.dcp]
report_stage synth

opt_design
place_design
phys_opt_design
route_design
write_checkpoint -force [file join $checkpoints route.dcp]
report_stage route
report_power -file [file join $reports route_power.rpt]
report_route_status -file [file join $reports route_status.rpt]

set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
set hold_slack [get_property SLACK [get_timing_paths -max_paths 1 -hold]]
set met [expr {$slack >= 0 && $hold_slack >= 0}]
set summary "clock_mhz $clock_mhz\nsetup_slack_ns $slack\nhold_slack_ns $hold_slack\n"
append summary "timing [expr {$met ? "met" : "not met"}]\n"
set file [open [file join $reports summary.txt] w]
puts -nonewline $file $summary
close $file
puts -nonewline $summary
if {!$met} {
    exit 1
}
