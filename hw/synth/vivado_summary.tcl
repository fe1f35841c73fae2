# Ends a build: writes reports/summary.txt; exit code 1 if timing is not met.

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
