"""A network's parts, connected."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.rtl.component import Component
from hw.spatial.flow import flow
from hw.spatial.plan import NetworkPlan

__all__ = ["Network"]


class Network(Component):
    """All parts, connected, without backpressure: the circuit never waits.

    An image has as many slots as ``plan.pace.frame`` says, at least ``plan.pace.interval`` cycles
    apart. Latency ``plan.latency`` cycles from an image's first slot to its first result.

    Members
    -------
    i : a :func:`flow` of the input's codes; o : one of the output's
    """

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        super().__init__({
            "i": In(flow(plan.parts[0].bits)),
            "o": Out(flow(plan.parts[-1].bits)),
        })  # fmt: skip

    @property
    def parameters(self) -> dict[str, object]:
        return {"plan": self.plan}

    @property
    def module_name(self) -> str:
        return "nbqnn_circuit"

    def build(self) -> Module:
        m = Module()
        source = flow(self.plan.parts[0].bits).create()
        m.d.sync += source.valid.eq(self.i.valid)
        for name in ("first", "data"):
            register = Signal.like(getattr(self.i.payload, name), reset_less=True, name=name)
            m.d.sync += register.eq(getattr(self.i.payload, name))
            m.d.comb += getattr(source.payload, name).eq(register)
        flows = [source]
        for number, part in enumerate(self.plan.parts[1:], 1):
            component = part.build()
            m.submodules[f"part_{number}"] = component
            names = ["i"] if len(part.sources) == 1 else [f"i{n}" for n in range(len(part.sources))]
            for name, origin in zip(names, part.sources, strict=True):
                port = getattr(component, name)
                m.d.comb += [
                    port.valid.eq(flows[origin].valid),
                    port.payload.first.eq(flows[origin].payload.first),
                    port.payload.data.eq(flows[origin].payload.data),
                ]
            flows.append(component.o)
        m.d.comb += [
            self.o.valid.eq(flows[-1].valid),
            self.o.payload.first.eq(flows[-1].payload.first),
            self.o.payload.data.eq(flows[-1].payload.data),
        ]
        return m
