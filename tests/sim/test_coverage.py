"""sim.coverage: Verilator's counts, by module."""

from sim.coverage import Coverage

VERILOG = """\
module a(input clk);
  always @* begin
    if (_start_) begin end
    x = 1;
    x = 1;
  end
endmodule
module b(input clk);
    x = 1;
endmodule
"""


def point(count, **fields):
    return "C '" + "".join(f"\x01{key}\x02{value}" for key, value in fields.items()) + f"' {count}"


POINTS = [
    "# SystemC::Coverage-3",
    point(0, l=2, n=3, page="v_line/a", o="block", S="2,4"),
    point(5, l=2, n=3, page="v_line/a", o="block", S="2,4", h="top.second"),
    point(0, l=3, n=5, page="v_branch/a", o="if", S="3"),
    point(0, l=3, n=6, page="v_branch/a", o="else"),
    point(0, l=5, n=5, page="v_branch/a", o="if", S="5"),
    point(1, l=9, n=1, page="v_line/b", o="block", S="8-9"),
    point(2, l=1, n=9, page="v_toggle/a", o="clk:0->1"),
    point(0, l=1, n=9, page="v_toggle/a", o="clk:1->0"),
]


def read(tmp_path, rows):
    path = tmp_path / "coverage.dat"
    path.write_text("\n".join(rows) + "\n")
    return Coverage.read(path, VERILOG)


def test_lines_and_toggles(tmp_path):
    """Instances are added up; what can never be reached does not count."""
    coverage = read(tmp_path, POINTS)
    assert dict(coverage.lines) == {
        ("a", "always @* begin"): 5,
        ("a", "x = 1;"): 5,
        ("a", "x = 1; #2"): 0,
        ("b", "module b(input clk);"): 1,
        ("b", "x = 1;"): 1,
    }
    assert dict(coverage.toggles) == {("a", "clk:0->1"): 2, ("a", "clk:1->0"): 0}
    assert coverage.line_share == 4 / 5
    assert coverage.missed == [("a", "x = 1; #2")]


def test_runs_add_up(tmp_path):
    coverage = read(tmp_path, POINTS[:6]) + read(tmp_path, [point(1, page="v_line/a", S="5")])
    assert coverage.missed == []
    assert coverage.lines["a", "x = 1;"] == 5


def test_table(tmp_path):
    assert read(tmp_path, POINTS).table().splitlines() == [
        "| module | lines | reached | toggles | reached |",
        "|---|---:|---:|---:|---:|",
        "| a | 3 | 66.7 % | 2 | 50.0 % |",
        "| b | 2 | 100.0 % | 0 |  |",
        "| **all** | 5 | 80.0 % | 2 | 50.0 % |",
    ]
