"""Models of ECP5 cells, to simulate netlists that Yosys mapped."""

from importlib.util import find_spec
from pathlib import Path

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["netlist_with_models"]

_OWN = Path(__file__).with_name("ecp5.v")
#: Yosys's own models of tables, registers, carries and small memories.
_YOSYS = ("common_sim.vh", "ccu2c_sim.vh")


def netlist_with_models(netlist: str) -> str:
    """Verilog that can be simulated: models of ECP5 cells, then the netlist.

    Yosys models tables, registers, carries and distributed memories. Of block memories and the
    phase-locked loop it knows the ports only: ``ecp5.v`` beside this file models them. Other cells,
    such as multipliers, have no model.
    """
    spec = find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise NbqnnError("cell models need pyosys, which is not installed")
    folder = Path(spec.origin).parent / "share" / "ecp5"
    models = [(folder / name).read_text(encoding="utf-8") for name in _YOSYS]
    # These models include others, of cells that Yosys replaces: those are not needed.
    return "\n".join(["`define NO_INCLUDES", *models, _OWN.read_text(encoding="utf-8"), netlist])
