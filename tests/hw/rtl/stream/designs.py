"""All stream components beside each other in one top module: one build for all their cases."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.rtl.component import Component
from hw.rtl.stream.fifo import StreamFifo
from hw.rtl.stream.gearbox import Packer, Unpacker
from hw.rtl.stream.skid import SkidBuffer

__all__ = ["BEAT_WIDTH", "PARTS", "StreamParts"]

BEAT_WIDTH = 8
#: Port prefix -> (component, beats of an input word, beats of an output word).
PARTS = {
    "skid": (lambda: SkidBuffer(signed(BEAT_WIDTH)), 1, 1),
    "fifo_3": (lambda: StreamFifo(BEAT_WIDTH, 3), 1, 1),
    "fifo_7": (lambda: StreamFifo(BEAT_WIDTH, 7), 1, 1),
    "packer_1": (lambda: Packer(BEAT_WIDTH, 1), 1, 1),
    "packer_4": (lambda: Packer(BEAT_WIDTH, 4), 1, 4),
    "packer_5": (lambda: Packer(BEAT_WIDTH, 5), 1, 5),
    "unpacker_1": (lambda: Unpacker(BEAT_WIDTH, 1), 1, 1),
    "unpacker_4": (lambda: Unpacker(BEAT_WIDTH, 4), 4, 1),
    "unpacker_5": (lambda: Unpacker(BEAT_WIDTH, 5), 5, 1),
}


class StreamParts(Component):
    """Ports ``NAME_i`` and ``NAME_o`` for each part; ``clear`` for those that have it."""

    module_name = "stream_parts"

    def __init__(self):
        self.parts = {name: create() for name, (create, _, _) in PARTS.items()}
        members = {"clear": In(1)}
        for name, part in self.parts.items():
            for side in ("i", "o"):
                members[f"{name}_{side}"] = part.signature.members[side]
        super().__init__(members)

    def build(self):
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_i")), part.i)
            wiring.connect(m, part.o, wiring.flipped(getattr(self, f"{name}_o")))
            if "clear" in part.signature.members:
                m.d.comb += part.clear.eq(self.clear)
        return m
