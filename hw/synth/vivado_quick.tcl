# Synthesis and implementation of the accelerator on its own (out of context), in batch mode:
#
#     vivado -mode batch -source build.tcl
#
# Ends with exit code 1 if Vivado reports an error or the clock constraint is not met.
# Results: reports/*.rpt, reports/summary.txt, checkpoints/*.dcp.

set here [file dirname [file normalize [info script]]]
# part, accelerator_top, clock_mhz
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
read_xdc [file join $here quick.xdc]

# Ports stay without pads: what surrounds the accelerator in a real design is not there.
synth_design -top $accelerator_top -part $part -mode out_of_context
write_checkpoint -force [file join $checkpoints synth.dcp]
report_stage synth

source [file join $here implement.tcl]
implement
write_checkpoint -force [file join $checkpoints route.dcp]
report_stage route
set activity [file join $here activity.saif]
if {[file exists $activity]} {
    read_saif -strip_path $accelerator_top $activity
}
report_power -file [file join $reports route_power.rpt]
report_route_status -file [file join $reports route_status.rpt]

source [file join $here summary.tcl]
