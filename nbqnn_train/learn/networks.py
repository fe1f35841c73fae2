"""Networks from the options of a training."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from nbqnn_train.convert import convert
from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.learn.config import TrainConfig
from nbqnn_train.learn.weight_files import read_weights
from nbqnn_train.models import MODELS, build_model
from nbqnn_train.quant.finite import check_finite
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quantize import quantize
from nbqnn_train.user_code import told

__all__ = [
    "check_images",
    "check_learning",
    "float_network",
    "load_state",
    "quantized_network",
    "rounded_network",
]

#: Images that weights are rounded with, and values of them all: their maps are in memory together.
_FEWEST_IMAGES, _MOST_IMAGES, _VALUES = 32, 1024, 10_000_000
#: Keys listed of each side of a mismatch.
_SHOWN_KEYS = 3


def float_network(name: str, classes: int | None, channels: int, weights: Path | None) -> nn.Module:
    """The network called ``name`` in full precision, with the weights of a file if there is one."""
    network = build_model(name, classes, channels)
    if weights is not None:
        load_state(network, read_weights(weights), weights)
    return network


def quantized_network(
    config: TrainConfig, classes: int, shape: tuple[int, ...], initial: Path | None
) -> QuantNetwork:
    """The network of ``config`` for inputs of ``shape`` (without the batch), converted, with the
    weights of a file if there is one."""
    network = float_network(config.model, classes, shape[0], initial)
    return convert(network, config.quant_config(), torch.zeros(1, *shape))


def rounded_network(
    config: TrainConfig, classes: int, shape: tuple[int, ...], inputs: list[Tensor]
) -> QuantNetwork:
    """The trained network of ``config``, quantized without labels for the first of ``inputs``
    (N, ...), in training mode."""
    network = float_network(config.model, classes, shape[0], config.pretrained)
    images = max(_FEWEST_IMAGES, min(_MOST_IMAGES, _VALUES // math.prod(shape)))
    example = torch.zeros(1, *shape)
    options = {"images": images, "seed": config.seed, "example": example}
    return quantize(network, inputs, config.quant_config(), **options).train()


def check_images(name: str, classes: int, shape: tuple[int, ...]) -> None:
    """Raises :class:`NbqnnError` unless the network called ``name`` takes images of ``shape`` and
    returns so many numbers for each."""
    # Shapes alone, no arithmetic; what a user wrote may need values.
    with torch.device("meta" if name in MODELS else "cpu"), torch.no_grad():
        network = build_model(name, classes, shape[0]).eval()
        try:
            result = network(torch.zeros(1, *shape))
        except Exception as error:  # a user's network raises whatever it likes
            raise NbqnnError(
                f"Model {name!r} must fit images of shape {shape}: {told(error)}"
            ) from None
    if not isinstance(result, Tensor) or tuple(result.shape) != (1, classes):
        found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise NbqnnError(
            f"Model {name!r} must return {(1, classes)} for {classes} classes and one image of "
            f"shape {shape}, not {found}"
        )


def check_learning(name: str, classes: int, shape: tuple[int, ...], images: int) -> None:
    """Raises :class:`NbqnnError` unless the network called ``name`` has something that learns, and
    its batch norms something to normalize in batches of so many ``images`` of ``shape``."""
    network = build_model(name, classes, shape[0]).eval()
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NbqnnError(
            f"Model {name!r} must have parameters that learn; remedy: requires_grad_(True), or "
            "nbqnn quantize, which does not train"
        )
    if images > 1:
        return
    single: list[str] = []

    def look(path: str, given: tuple[Tensor, ...]) -> None:
        if given[0].numel() == given[0].shape[1]:
            single.append(path)

    for path, part in network.named_modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.register_forward_pre_hook(lambda _, given, path=path: look(path, given))
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    if single:
        raise NbqnnError(
            f"Batch size must be at least 2 for a batch norm of single positions, at {single[0]!r} "
            f"of model {name!r}, not 1"
        )


#: What wrappers put into names.
_WRAPPERS = ("module", "_orig_mod")


def _named_like(
    own: dict[str, Tensor], state: dict[str, Tensor], origin: Path
) -> dict[str, Tensor]:
    """``state`` with the names of ``own``, if leaving out the names of wrappers gives them, or
    those of the one module that has all of them."""
    bare = {
        ".".join(part for part in name.split(".") if part not in _WRAPPERS): value
        for name, value in state.items()
    }
    for renamed in (state, bare):
        if len(renamed) == len(state) and renamed.keys() <= own.keys():
            return renamed
    wanted = [name for name in own if not _is_counter(name)]
    first = next(iter(wanted), "")
    inside = [name.removesuffix(first) for name in bare if name.endswith(f".{first}")]
    holders = [held for held in inside if all(held + name in bare for name in wanted)]
    if len(holders) > 1:
        raise NbqnnError(
            f"{origin} must hold the weights of this network once, not under "
            f"{' and '.join(repr(held.rstrip('.')) for held in holders[:2])}; remedy: save one"
        )
    if not holders or all(name in bare for name in wanted):
        return state
    (held,) = holders
    return {name.removeprefix(held): bare[name] for name in bare if name.startswith(held)}


def _is_counter(name: str) -> bool:
    """Whether old weight files lack it; it does not take part in evaluation."""
    return name.endswith("num_batches_tracked")


def load_state(module: nn.Module, state: dict[str, Tensor], origin: Path) -> None:
    """Loads named tensors; an error lists the first few keys of each side that do not match.

    The names may be those of a wrapper: of ``DataParallel``, ``torch.compile`` or a module that
    holds the network, such as Lightning's; then what else it holds is left out.
    """
    own = module.state_dict()
    state = _named_like(own, state, origin)
    missing = [k for k in own if k not in state and not _is_counter(k)]
    unknown = [k for k in state if k not in own]
    if missing or unknown:
        raise NbqnnError(
            f"{origin} must hold the weights of this network: missing {_some(missing)}; "
            f"not of this network {_some(unknown)}"
        )
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise NbqnnError(
                f"{origin}: {name} must have shape {tuple(own[name].shape)}, "
                f"not {tuple(tensor.shape)}"
            )
        if own[name].is_floating_point() and not tensor.is_floating_point():
            raise NbqnnError(f"{origin}: {name} must hold real numbers, not {tensor.dtype}")
        check_finite(f"{origin}: {name}", tensor)
    module.load_state_dict(state, strict=False)


def _some(keys: list[str]) -> str:
    if not keys:
        return "none"
    more = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")
