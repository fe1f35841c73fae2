"""From what was read to operations, by kind."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from nbqnn_train.quant.operators import order
from nbqnn_train.quant.operators.padding import PadOp
from nbqnn_train.quant.operators.products import ConstantValue, MultiplyOp, SumOp
from nbqnn_train.quant.operators.regions import RegionAverageOp, Regions
from nbqnn_train.quant.operators.resize import BilinearOp, InterpolateOp
from nbqnn_train.quant.operators.table import TableOp
from nbqnn_train.quant.pointwise import Pointwise
from nbqnn_train.quant.reading.operations import Operation

if TYPE_CHECKING:
    from nbqnn_train.quant.build import Builder

__all__ = ["OPERATORS"]


def _table(builder: "Builder", operation: Operation) -> nn.Module:
    weight = builder.parameter(operation.tensors.get("weight"))
    function = Pointwise(operation.settings["expression"], weight)
    return TableOp(function, builder.out(operation), operation.path or operation.name)


def _constant(builder: "Builder", operation: Operation) -> ConstantValue | None:
    tensor = operation.tensors.get("constant")
    if tensor is None:
        return None
    if isinstance(tensor, nn.Parameter):
        tensor = builder.parameter(tensor, operation.shape)
    return ConstantValue(tensor, builder.config.for_layer(operation.path).act_bits)


def _multiply(builder: "Builder", operation: Operation) -> nn.Module:
    return MultiplyOp(builder.out(operation), _constant(builder, operation))


def _sum(builder: "Builder", operation: Operation) -> nn.Module:
    constant = _constant(builder, operation)
    return SumOp(operation.settings["factors"], builder.out(operation), constant)


def _moved(kind: type[order.MoveOp]) -> Callable[["Builder", Operation], nn.Module]:
    return lambda builder, operation: kind(**operation.settings)


def _pad(builder: "Builder", operation: Operation) -> nn.Module:
    return PadOp(**operation.settings, path=operation.path or operation.name)


def _bilinear(builder: "Builder", operation: Operation) -> nn.Module:
    return BilinearOp(operation.settings["factor"], builder.out(operation))


def _interpolate(builder: "Builder", operation: Operation) -> nn.Module:
    return InterpolateOp(**operation.settings, out=builder.out(operation))


def _region_average(builder: "Builder", operation: Operation) -> nn.Module:
    return RegionAverageOp(Regions(**operation.settings), builder.out(operation))


#: By kind of operation: what computes it. The builder absorbs the limits that follow.
OPERATORS: dict[str, Callable[["Builder", Operation], nn.Module]] = {
    "table": _table,
    "multiply": _multiply,
    "sum": _sum,
    "channels": _moved(order.ChannelsOp),
    "unflatten": _moved(order.UnflattenOp),
    "depth_to_space": _moved(order.DepthToSpaceOp),
    "space_to_depth": _moved(order.SpaceToDepthOp),
    "flip": _moved(order.FlipOp),
    "slice": _moved(order.SliceOp),
    "upsample": _moved(order.UpsampleOp),
    "pad": _pad,
    "bilinear": _bilinear,
    "interpolate": _interpolate,
    "region_average": _region_average,
}
