"""AXI4 and AXI4-Lite as Amaranth signatures, and as ports of a top module.

Members have the specification's signal names in lower case and are seen from the master (manager):
``Out`` drives the slave. Signals that are not listed are absent and have the specification's
defaults: there are no locks, regions, QoS or user signals.
"""

import enum

from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

__all__ = [
    "CACHE_NORMAL",
    "AxiLiteSignature",
    "AxiReadSignature",
    "AxiWriteSignature",
    "Burst",
    "Resp",
    "beat_bytes",
    "flat_members",
    "flat_view",
]

#: AxCACHE of every transfer: normal, non-cacheable, bufferable; interconnects may merge and buffer.
CACHE_NORMAL = 0b0011


class Resp(enum.IntEnum):
    """xRESP: how a transfer ended."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


class Burst(enum.IntEnum):
    """AxBURST: how the address moves during a burst."""

    FIXED = 0
    INCR = 1
    WRAP = 2


def beat_bytes(data_width: int) -> int:
    """Bytes of a beat of ``data_width`` bits: 8, 16, 32 ... 1024, as AXI wants it."""
    if not isinstance(data_width, int):
        raise TypeError(f"Data width must be an integer, not {data_width!r}")
    if data_width not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(
            f"Data width must be 8, 16, 32, 64, 128, 256, 512 or 1024 bits, not {data_width!r}"
        )
    return data_width // 8


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite with 32-bit data.

    Parameters
    ----------
    address_width : int
        Bits of ``awaddr`` and ``araddr``; addresses count bytes.
    """

    def __init__(self, address_width: int):
        self.address_width = address_width
        super().__init__({
            "awaddr": Out(address_width),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_width),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        })  # fmt: skip


class AxiReadSignature(wiring.Signature):
    """The read half of AXI4: channels AR and R.

    Parameters
    ----------
    address_width : int
        Bits of ``araddr``; addresses count bytes.
    data_width : int
        Bits of ``rdata``.
    id_width : int
        Bits of ``arid`` and ``rid``.
    """

    def __init__(self, address_width: int, data_width: int, id_width: int = 1):
        beat_bytes(data_width)
        self.address_width = address_width
        self.data_width = data_width
        self.id_width = id_width
        super().__init__({
            "arid": Out(id_width),
            "araddr": Out(address_width),
            "arlen": Out(8),
            "arsize": Out(3),
            "arburst": Out(2),
            "arcache": Out(4),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rid": In(id_width),
            "rdata": In(data_width),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        })  # fmt: skip


class AxiWriteSignature(wiring.Signature):
    """The write half of AXI4: channels AW, W and B.

    Parameters
    ----------
    address_width : int
        Bits of ``awaddr``; addresses count bytes.
    data_width : int
        Bits of ``wdata``.
    id_width : int
        Bits of ``awid`` and ``bid``.
    """

    def __init__(self, address_width: int, data_width: int, id_width: int = 1):
        self.address_width = address_width
        self.data_width = data_width
        self.id_width = id_width
        super().__init__({
            "awid": Out(id_width),
            "awaddr": Out(address_width),
            "awlen": Out(8),
            "awsize": Out(3),
            "awburst": Out(2),
            "awcache": Out(4),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(data_width),
            "wstrb": Out(beat_bytes(data_width)),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid": In(id_width),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
        })  # fmt: skip


def flat_members(prefix: str, member: Member) -> dict[str, Member]:
    """The members of an interface under the names that tools expect of a top module's ports.

    ``flat_members("m_axi", Out(AxiReadSignature(40, 64)))`` is ``{"m_axi_arid": Out(1), ...}``,
    where a nested interface would become ``m_axi__arid``.
    """
    signature = member.signature
    return {f"{prefix}_{name}": item for name, item in signature.members.items()}


def flat_view(component: wiring.Component, prefix: str, member: Member) -> object:
    """The interface whose members are the ports that :func:`flat_members` made of ``member``.

    It is for use inside the component, so it is seen from the other side:
    ``wiring.connect(m, reader.axi, flat_view(self, "m_axi", member))``.
    """
    members: dict[str, Value] = {
        name: getattr(component, f"{prefix}_{name}") for name in member.signature.members
    }
    view = member.signature.flip().create()
    for name, value in members.items():
        setattr(view, name, value)
    return view
