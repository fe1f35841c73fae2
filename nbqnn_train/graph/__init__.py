"""The integer graph, the contract of training and hardware. Standard library and NumPy only."""

from .bounds import accumulator_bounds, narrowed, required_bits, value_bounds
from .errors import GraphError, NbqnnError
from .infer import tensor_types
from .interpreter import quantize_input, requantize, run, run_codes
from .nodes import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Requantize,
    TensorType,
)
from .storage import graph_digest, load, save
from .validate import validate

__all__ = [
    "Add",
    "AvgPool2d",
    "Clip",
    "Concat",
    "Conv2d",
    "Flatten",
    "Graph",
    "GraphError",
    "Input",
    "Linear",
    "MaxPool2d",
    "NbqnnError",
    "Node",
    "Requantize",
    "TensorType",
    "accumulator_bounds",
    "graph_digest",
    "load",
    "narrowed",
    "quantize_input",
    "requantize",
    "required_bits",
    "run",
    "run_codes",
    "save",
    "tensor_types",
    "validate",
    "value_bounds",
]
