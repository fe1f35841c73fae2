# Which clock the accelerator reaches on its own (out of context), in batch mode:
#
#     vivado -mode batch -source sweep.tcl
#
# Synthesizes once, for the fastest clock. Then it places and routes for each clock, slowest first,
# until one is not met. Results: reports/sweep.txt, one line for each clock: MHz asked for, slack in
# ns, MHz reached; reports/sweep_MHZ.rpt.

set here [file dirname [file normalize [info script]]]
# part, accelerator_top, sweep_mhz
source [file join $here settings.tcl]
source [file join $here implement.tcl]

set reports [file join $here reports]
set checkpoints [file join $here checkpoints]
file mkdir $reports $checkpoints

create_project -in_memory -part $part
read_verilog [file join $here rtl nbqnn.v]
read_xdc [file join $here sweep.xdc]
synth_design -top $accelerator_top -part $part -mode out_of_context
write_checkpoint -force [file join $checkpoints sweep.dcp]
close_project

set results [open [file join $reports sweep.txt] w]
foreach mhz $sweep_mhz {
    open_checkpoint [file join $checkpoints sweep.dcp]
    # In place of the clock of the same name.
    create_clock -name clk -period [format %.3f [expr {1000.0 / $mhz}]] [get_ports clk]
    implement
    report_timing_summary -file [file join $reports sweep_$mhz.rpt]
    set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
    set reached [format %.1f [expr {1000.0 / (1000.0 / $mhz - $slack)}]]
    puts $results "$mhz $slack $reached"
    flush $results
    puts "nbqnn: $mhz MHz asked for, slack $slack ns, $reached MHz reached"
    close_project
    if {$slack < 0} {
        break
    }
}
close $results
