"""Components that become one Verilog module, no matter how often they are used."""

import inspect
import re
from typing import ClassVar

from amaranth.hdl import DomainRenamer, Elaboratable, Shape
from amaranth.lib import wiring

__all__ = ["Component", "shape_name"]

_PREFIX = "nbqnn_"


class Component(wiring.Component):
    """A ``wiring.Component`` that names its module and shares it.

    A subclass keeps each parameter of its constructor in an attribute of the same name. Its method
    :meth:`build` describes the circuit. There are two domains with the same clock: ``sync``, and
    ``data`` without a reset. ``data`` is for registers whose content is used only while a register
    with a reset says that it is valid.

    A user assigns the component to ``m.submodules``. Within a
    :class:`hw.rtl.verilog.VerilogLibrary` it becomes an instance of a module that all components
    with the same parameters share. Anywhere else, for example in Amaranth's simulator, the circuit
    is built in place.

    The module's name consists of class and parameters: ``nbqnn_wide_memory_width32_depth8``. Of a
    configuration, the fields in ``config_fields`` are in it. None stands for all fields; such a
    component exists once in a design, and its module has the name of the class alone.
    """

    #: Fields of the parameter ``config`` that the component depends on.
    config_fields: ClassVar[tuple[str, ...] | None] = None

    def __init_subclass__(cls, *, replaces: "type[Component] | None" = None, **options):
        """``replaces``: modules of this class take the place of that class's modules."""
        super().__init_subclass__(**options)
        if replaces is not None:
            cls.module_prefix = replaces.module_prefix

    @classmethod
    def module_prefix(cls) -> str:
        """The beginning of the names of the class's modules."""
        return _PREFIX + re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def fits(cls, **arguments: object) -> bool:
        """Whether a component of this class can replace one with these arguments."""
        return True

    @property
    def arguments(self) -> dict[str, object]:
        """The constructor's arguments by their names."""
        if type(self).__init__ is wiring.Component.__init__:
            return {}
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    @property
    def parameters(self) -> dict[str, object]:
        """What the module's name consists of: fields of the configuration, then arguments."""
        arguments = self.arguments
        if self.config_fields is None or "config" not in arguments:
            return arguments
        config = arguments.pop("config")
        return {name: getattr(config, name) for name in self.config_fields} | arguments

    @property
    def module_name(self) -> str:
        """A Verilog identifier, the same for equal parameters and different for all others."""
        parts = [_part(name, value) for name, value in self.parameters.items()]
        return "_".join([self.module_prefix(), *filter(None, parts)])

    def build(self) -> Elaboratable:
        """The component's circuit. Components in it are added to ``m.submodules`` as they are."""
        raise NotImplementedError

    def elaborate(self, platform: object) -> Elaboratable:
        """An instance if the platform shares modules, else the circuit."""
        if hasattr(platform, "instance"):
            return platform.instance(self)
        return DomainRenamer({"data": "sync"})(self.build())


def shape_name(shape: Shape) -> str:
    """``u8`` or ``s8``. Payloads of equal width and signedness share a module."""
    return f"{'s' if shape.signed else 'u'}{shape.width}"


def _part(name: str, value: object) -> str:
    """A parameter's part of a module's name; empty if it has none."""
    match value:
        case bool():
            return name if value else ""
        case int():
            return f"{name}{value}"
        case str():
            return value
        case Shape():
            return shape_name(value)
        case tuple():
            return "_".join(_part("", item) for item in value)
        case _:
            return ""
