"""Kinds of nodes beyond those of :mod:`nbqnn_train.graph.nodes`, each whole in one file.

A file holds the node, what its fields may be, its output's type, the values that can occur and its
codes; :data:`OPERATORS` is what the validator, the interpreter and the storage know of it.
"""

from ..nodes import Node
from .choice import CHOICE, ArgMax
from .operator import Operator
from .order import (
    ORDER,
    Channels,
    DepthToSpace,
    Flip2d,
    Slice2d,
    SpaceToDepth,
    Unflatten,
)
from .padding import PADDING, Pad2d
from .regions import REGIONS, RegionAverage2d, RegionMax2d
from .resize import RESIZE, Bilinear2d, Upsample2d
from .sums import SUMS, Constant, Multiply, Sum
from .table import TABLE, Table
from .transposed import TRANSPOSED, ConvTranspose2d

__all__ = [
    "OPERATORS",
    "ArgMax",
    "Bilinear2d",
    "Channels",
    "Constant",
    "ConvTranspose2d",
    "DepthToSpace",
    "Flip2d",
    "Multiply",
    "Operator",
    "Pad2d",
    "RegionAverage2d",
    "RegionMax2d",
    "Slice2d",
    "SpaceToDepth",
    "Sum",
    "Table",
    "Unflatten",
    "Upsample2d",
]

#: Kind of node -> what is known of it.
OPERATORS: dict[type[Node], Operator] = {
    **TABLE,
    **SUMS,
    **TRANSPOSED,
    **RESIZE,
    **ORDER,
    **PADDING,
    **REGIONS,
    **CHOICE,
}
