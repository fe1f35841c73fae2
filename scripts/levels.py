"""Counts the logic levels between registers, component by component, and checks their limits.

``python -m scripts.levels [PRESET or configuration file]``, by default ``digits``. The exit code is
1 if a component is over the limits, 2 if there is no such configuration.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hw.boards.presets import PRESETS, load_config
from hw.contract.config import AcceleratorConfig
from hw.rtl.generate import accelerator_verilog
from hw.synth.build import family_verilog
from hw.synth.hierarchy import direct_instances, instance_paths, modules_of_cells
from hw.synth.levels import MAX_CHAIN_BITS, MAX_LEVELS, ComponentLevels, logic_levels
from hw.synth.mapping import mapped_netlist
from hw.synth.yosys import ARRAY_PREFIX
from nbqnn_train.graph import NbqnnError

__all__ = ["accelerator_levels", "main"]


def accelerator_levels(config: AcceleratorConfig) -> list[ComponentLevels]:
    """All components of the accelerator; one element of the array stands for all elements.

    Registers separate the elements from the rest, on either side. So no path is missed.
    """
    verilog = family_verilog(accelerator_verilog(config), config, "xcup")
    modules = list(direct_instances(verilog))
    array = {name for name in modules if name.startswith(ARRAY_PREFIX)}
    elements = tuple(f"nbqnn_{kind}_lanes{config.lanes}_" for kind in ("svpe", "vpe"))
    element = next(name for name in modules if name.startswith(elements))
    cells = modules_of_cells(verilog)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for top, keep in ((element, ()), (modules[-1], array)):
            log = Path(folder) / f"{top}.log"
            netlist = mapped_netlist(verilog, top, "xcup", keep=keep, log=log)
            # Modules of cells are parts of the component that they are in.
            paths = instance_paths(verilog, top).items()
            components = {path: module for path, module in paths if module not in cells}
            results += logic_levels(netlist, top, components)
    return sorted(results, key=lambda result: (-result.levels, result.component))


def main(
    configuration: Annotated[str, typer.Argument(help="Preset, or configuration file.")] = "digits",
) -> None:
    """Prints every component's levels; exit code 1 if one is over the limits."""
    try:
        if configuration in PRESETS:
            config = load_config(preset=configuration)
        else:
            config = load_config(path=Path(configuration))
    except NbqnnError as error:
        typer.echo(f"levels: {error}", err=True)
        raise typer.Exit(2) from None
    results = accelerator_levels(config)
    print("levels  chains  longest  component: path with most levels")
    for result in results:
        mark = " " if result.within_limits else "!"
        print(
            f"{result.levels:5}{mark}  {result.chains:6}  {result.chain_bits:7}  "
            f"{result.component}: {result.start} -> {result.end}"
        )
    over = [result.component for result in results if not result.within_limits]
    print(f"limits: {MAX_LEVELS} levels, chains of {MAX_CHAIN_BITS} bits; over: {len(over)}")
    raise typer.Exit(int(bool(over)))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
