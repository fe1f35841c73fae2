"""Results as tables that a person can read."""

from collections.abc import Sequence

from rich.table import Table

from nbqnn_train.graph.report import NodeReport

__all__ = ["area_table", "demo_tables", "layer_table", "node_table"]

#: Field of a result -> heading.
_RESOURCES = {"lut": "LUT", "ff": "FF", "bram36": "BRAM36", "dsp": "DSP"}


def node_table(rows: Sequence[NodeReport]) -> Table:
    """The nodes of a graph, and their sums."""
    table = _table("node", "kind", "shape", "bits", "zeros", "MACs", "bytes", title="Integer graph")
    for row in rows:
        table.add_row(
            row.name,
            row.op,
            "×".join(map(str, row.shape)),
            _width(row),
            "" if row.zeros is None else f"{row.zeros:.0%}",
            f"{row.macs:,}" if row.macs else "",
            f"{row.bytes:,}" if row.bytes else "",
        )
    table.add_section()
    macs, size = sum(row.macs for row in rows), sum(row.bytes for row in rows)
    table.add_row("in all", "", "", "", "", f"{macs:,}", f"{size:,}")
    return table


def _width(row: NodeReport) -> str:
    """Bits of the node's tensor, and how many would do where those are fewer."""
    if row.needed_bits is None or row.needed_bits == row.acc_bits:
        return f"{row.bits}"
    return f"{row.bits} (needs {row.needed_bits})"


def layer_table(result: dict) -> Table:
    """Cycles of each layer, from the result of ``simulate``."""
    table = _table("layer", "cycles", "MACs", "utilization", title="Cycles per image, by layer")
    for layer in result["layers"]:
        table.add_row(
            layer["name"],
            f"{layer['cycles']:,.0f}",
            f"{layer['macs']:,}",
            f"{layer['utilization']:.1%}",
        )
    return table


def area_table(results: Sequence[dict], names: Sequence[str] = ("accelerator",)) -> Table:
    """What each accelerator takes, and how much of it is its array, from results of ``synth``."""
    board = results[0]["board"]
    table = _table("", "in all", f"of {board}", "array", "per lane", title="Area, by Yosys")
    for result, name in zip(results, names, strict=True):
        array = result["array"]
        table.add_row(f"[bold]{name}[/bold], {array['lanes']:,} lanes")
        for resource, heading in _RESOURCES.items():
            table.add_row(
                f"  {heading}",
                f"{result[resource]:,}",
                f"{result['share'][resource]:.1f} %",
                f"{array[resource]:,}",
                f"{array[resource] / array['lanes']:.2f}",
            )
    return table


def demo_tables(summary: dict) -> list[Table]:
    """The demo's results: what came out, layers, area."""
    network, simulated = summary["network"], summary["simulate"]
    table = _table("", "", title="nbqnn demo: 8×8 digits", header=False)
    rows = {
        "weights, activations": f"{network['bits']} bit, {network['act_bits']} bit",
        "test accuracy, PyTorch": f"{summary['train']['accuracy']:.2%}",
        "test accuracy, integer graph": f"{summary['evaluate']['accuracy']:.2%}",
        "images run on the accelerator": f"{simulated['images']:,}",
        "of these, unlike the integer graph": f"{simulated['mismatches']:,}",
        "cycles per image": f"{simulated['cycles_per_image']:,.0f}",
        f"images per second at {summary['clock_mhz']} MHz": (
            f"{summary['images_per_second']:,.0f}"
        ),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    synths = summary["synth"]
    seconds = _table("stage", "seconds", title="Time taken")
    for stage, duration in summary["seconds"].items():
        seconds.add_row(stage, f"{duration:.1f}")
    return [
        layer_table(simulated),
        area_table(list(synths.values()), [f'pe = "{pe}"' for pe in synths]),
        seconds,
        table,
    ]


def _table(*columns: str, title: str, header: bool = True) -> Table:
    table = Table(title=title, title_justify="left", show_header=header)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table
