"""The options of a training: names, kinds, defaults, ranges and help, each said once.

Standard library only: the command line reads them before anything heavy is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbqnn_train.graph.limits import ACT_BITS, WEIGHT_BITS

__all__ = [
    "ACCELERATORS",
    "FALLS",
    "FLIPS",
    "OPTIMIZERS",
    "PRECISIONS",
    "STARTS",
    "Option",
    "Range",
    "TrainOptions",
]

#: What weights are at the first step: as they were given, or rounded without labels.
STARTS = ("real", "rounded")
OPTIMIZERS = ("adam", "sgd")
#: The course of the learning rate after it has risen.
FALLS = ("cosine", "linear")
#: Which training images are mirrored: a random half of them, or each one every other epoch.
FLIPS = ("random", "alternating")
#: Names of Lightning's plugins.
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu")

_NETWORK, _QUANTIZATION = "Network and data", "Quantization"
_TRAINING, _MACHINE = "Training", "Machine"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; ``low`` itself is left out where it is ``open``."""

    low: float
    high: float
    open: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.open else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.open:
            return f"above {self.low:g} and at most {self.high:g}"
        integers = isinstance(self.low, int) and isinstance(self.high, int)
        return f"in {self.low}..{self.high}" if integers else f"in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Option:
    """What is known of one option beyond its kind and default.

    panel : group in the help. text : the help. range : of numbers. choices : of names.
    names : on the command line, where they are others than the field's.
    """

    panel: str
    text: str
    range: Range | None = None
    choices: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()


def _about(panel: str, text: str, **known) -> dict[str, Option]:
    """The metadata of an option's field."""
    return {"option": Option(panel, text, **known)}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of one training. None takes the default of :mod:`nbqnn_train.learn.recipes`."""

    model: str = field(
        metadata=_about(
            _NETWORK,
            "Network: a name such as digits, FILE.py:function, module:function or FILE.onnx.",
        )
    )
    data: str = field(
        metadata=_about(
            _NETWORK, "Data set: a name such as digits, FILE.py:function or module:function."
        )
    )
    data_dir: Path | None = field(
        default=None, metadata=_about(_NETWORK, "Folder with the data set's files.")
    )
    pretrained: Path | None = field(
        default=None,
        metadata=_about(
            _NETWORK,
            "Full-precision weights to begin with: .safetensors, or of torch.save (.pt, .pth, "
            ".ckpt …).",
        ),
    )
    teacher: Path | None = field(
        default=None, metadata=_about(_NETWORK, "Full-precision weights to distil from.")
    )
    teacher_model: str | None = field(
        default=None, metadata=_about(_NETWORK, "Network that they belong to; by default the same.")
    )
    teacher_weight: float = field(
        default=0.7,
        metadata=_about(
            _NETWORK,
            "Share of the loss that is the distance to the teacher, not to the labels.",
            range=Range(0, 1, open=True),
        ),
    )
    train_images: int | None = field(
        default=None,
        metadata=_about(
            _NETWORK, "Use so many of the training images.", range=Range(1, 1_000_000_000)
        ),
    )
    validation: int = field(
        default=0,
        metadata=_about(
            _NETWORK,
            "Hold out so many training images to validate with, the same for every seed.",
            range=Range(0, 1_000_000_000),
        ),
    )
    bits: int = field(
        default=3, metadata=_about(_QUANTIZATION, "Bits of a weight.", range=Range(*WEIGHT_BITS))
    )
    act_bits: int = field(
        default=8, metadata=_about(_QUANTIZATION, "Bits of an activation.", range=Range(*ACT_BITS))
    )
    input_bits: int | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "Bits of the network's inputs; by default as many as of an activation.",
            range=Range(*ACT_BITS),
        ),
    )
    output_bits: int | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "Bits of the network's outputs; by default as many as of an activation.",
            range=Range(*ACT_BITS),
        ),
    )
    estimator: str = field(
        default="reconstructed",
        metadata=_about(
            _QUANTIZATION,
            "What passes the gradient: reconstructed, ste, deepshift, apot or s3.",
        ),
    )
    blend_power: float | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "λ rises as 1 - (1 - t) to this power; 2 or 3 is usual.",
            range=Range(1, 16),
            names=("--blend-power", "--lambda-power"),
        ),
    )
    warmup: float | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "Share of the steps, at the beginning, with real weights and activations.",
            range=Range(0, 0.9),
        ),
    )
    requant_mode: str = field(
        default="shift",
        metadata=_about(_QUANTIZATION, "shift, or scale (with 16-bit multipliers)."),
    )
    start: str | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "Trained weights as they are (real), or quantized without labels first (rounded).",
            choices=STARTS,
        ),
    )
    weight_exponents: str = field(
        default="channel",
        metadata=_about(_QUANTIZATION, "Steps of weights: one per channel or per tensor."),
    )
    percentile: float | None = field(
        default=None,
        metadata=_about(
            _QUANTIZATION,
            "Percent of activations that must not be clipped; without it the least squared error.",
            range=Range(0, 100, open=True),
        ),
    )
    full_precision: bool = field(
        default=False,
        metadata=_about(
            _QUANTIZATION,
            "No quantization: a baseline, or weights to begin with.",
            names=("--full-precision", "--float"),
        ),
    )
    epochs: int | None = field(
        default=None,
        metadata=_about(_TRAINING, "Passes over the training images.", range=Range(1, 1_000_000)),
    )
    batch_size: int | None = field(
        default=None,
        metadata=_about(
            _TRAINING, "Images per batch, on all devices together.", range=Range(1, 1 << 24)
        ),
    )
    lr: float | None = field(
        default=None,
        metadata=_about(_TRAINING, "Largest learning rate.", range=Range(0, 1e30, open=True)),
    )
    lr_rise: float | None = field(
        default=None,
        metadata=_about(
            _TRAINING, "Share of the steps over which the learning rate rises.", range=Range(0, 0.9)
        ),
    )
    lr_fall: str | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "How the learning rate falls to 0 after that: cosine or linear.",
            choices=FALLS,
        ),
    )
    weight_decay: float | None = field(
        default=None, metadata=_about(_TRAINING, "Of weights; not of biases.", range=Range(0, 1e6))
    )
    optimizer: str | None = field(
        default=None, metadata=_about(_TRAINING, "adam or sgd.", choices=OPTIMIZERS)
    )
    label_smoothing: float | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "Share of a label that is given to all classes alike.",
            range=Range(0, 0.99),
        ),
    )
    weight_average: float | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "Share of a running average of the weights that each step keeps, such as 0.99; "
            "the average takes their place before they stand still.",
            range=Range(0, 0.99999),
        ),
    )
    flips: str | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "Images that are mirrored: a random half, or each one every other epoch (alternating).",
            choices=FLIPS,
        ),
    )
    seed: int = field(
        default=0,
        metadata=_about(_TRAINING, "Of all that is random.", range=Range(0, (1 << 32) - 1)),
    )
    accumulate: int = field(
        default=1,
        metadata=_about(
            _TRAINING, "Batches whose gradients make one step.", range=Range(1, 1 << 24)
        ),
    )
    clip_gradients: float | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "Largest Euclidean norm of a step's gradient; default 5 beside a teacher for "
            "trained weights, else no limit.",
            range=Range(0, 1e30, open=True),
        ),
    )
    patience: int | None = field(
        default=None,
        metadata=_about(
            _TRAINING,
            "Stop after so many epochs that were not better, by the images held out.",
            range=Range(1, 1_000_000),
        ),
    )
    precision: str = field(
        default="32",
        metadata=_about(
            _MACHINE, "Of the arithmetic: 32, bf16-mixed or 16-mixed.", choices=PRECISIONS
        ),
    )
    accelerator: str = field(
        default="auto", metadata=_about(_MACHINE, "auto, cpu or gpu.", choices=ACCELERATORS)
    )
    devices: int = field(
        default=1,
        metadata=_about(
            _MACHINE, "GPUs, or processes on the CPU, of each node.", range=Range(1, 4096)
        ),
    )
    nodes: int = field(default=1, metadata=_about(_MACHINE, "Machines.", range=Range(1, 4096)))
    #: By module path or pattern, options of layers that differ; only in a file.
    overrides: Mapping[str, Mapping] = field(default_factory=dict)
