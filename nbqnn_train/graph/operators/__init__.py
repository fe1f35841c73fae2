"""More kinds of nodes than :mod:`nbqnn_train.graph.nodes` has. Each is complete in one file.

A file defines the node, the check of its fields, the type of its output, the values that can occur
and its codes. Validator, interpreter and storage read these from :data:`OPERATORS`.
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
from .resize import RESIZE, Bilinear2d, Interpolate2d, Upsample2d
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
    "Interpolate2d",
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

#: Kind of node -> its four functions.
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
