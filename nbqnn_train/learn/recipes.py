"""How long and how fast to train, by data set."""

from dataclasses import dataclass, replace

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["Recipe", "recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of one training.

    lr : the largest learning rate.
    lr_rise : share of the steps over which it rises to that.
    lr_fall : how it falls to 0 from there, "cosine" or "linear".
    label_smoothing : share of a label that all classes have alike.
    weight_average : share of a running average of the weights that each step keeps; 0 has none
        (:class:`nbqnn_train.learn.averages.WeightAverage`).
    flips : which images are mirrored, "random" or "alternating"
        (:func:`nbqnn_train.data.batches.train_loader`).
    warmup : share of the steps with real weights and activations.
    freeze : share of the steps, at the end, with batch norm frozen.
    settle : share of the steps, at the end, with λ = 1.
    blend_power : how fast λ rises at first; see :class:`nbqnn_train.learn.phases.Schedule`.
    clip_gradients : largest Euclidean norm of a step's gradient; None has no limit.
    start : "real", or "rounded" where trained weights are quantized without labels first.
    threads : of one operation on the CPU. Sharing out tensors of a few kilobytes costs time.
    """

    epochs: int
    batch_size: int
    lr: float
    lr_rise: float
    lr_fall: str
    label_smoothing: float
    weight_average: float
    flips: str
    weight_decay: float
    optimizer: str
    warmup: float
    freeze: float
    settle: float
    blend_power: float
    clip_gradients: float | None
    start: str
    threads: int | None


_SCRATCH = Recipe(
    epochs=30,
    batch_size=128,
    lr=2e-3,
    lr_rise=0.05,
    lr_fall="cosine",
    label_smoothing=0.0,
    weight_average=0.0,
    flips="random",
    weight_decay=1e-4,
    optimizer="adam",
    warmup=0.3,
    freeze=0.05,
    settle=0.1,
    blend_power=3.0,
    clip_gradients=None,
    start="real",
    threads=None,
)
#: Epochs up to which fine-tuning begins with rounded weights.
_SHORT = 3
#: Largest norm of gradients beside a teacher. Some trainings diverge without it.
_CLIPPED = 5.0
_RECIPES = {
    "digits": replace(_SCRATCH, epochs=20, batch_size=32, lr=3e-3, threads=1),
}


def recipe(data: str, *, fine_tune: bool, taught: bool, **given) -> Recipe:
    """The recipe for ``data`` with the numbers in ``given``.

    Fine-tuning begins with trained weights, so it quantizes from the first step and takes smaller
    steps. If it is short, the weights are rounded first (:func:`nbqnn_train.quantize.quantize`).
    Else weights stand still for longer at its end. Gradients are clipped where the network is
    ``taught`` by another one.

    Raises :class:`NbqnnError` where weights are to be rounded that were not trained, or that are to
    be real at first.
    """
    base = _RECIPES.get(data, _SCRATCH)
    if fine_tune:
        base = replace(base, warmup=0.0, epochs=10, lr=1e-2, optimizer="sgd")
        short = given.get("epochs", base.epochs) <= _SHORT
        if short and not given.get("warmup"):
            base = replace(base, start="rounded")
        if given.get("start", base.start) == "real":
            base = replace(base, settle=0.2)
        if taught:
            base = replace(base, clip_gradients=_CLIPPED)
    elif given.get("start") == "rounded":
        raise NbqnnError("Trained weights must be given where they are to be rounded first")
    chosen = replace(base, **given)
    if chosen.start == "rounded" and chosen.warmup:
        raise NbqnnError(
            f"Warm-up must be 0 where weights are rounded first, not {chosen.warmup!r}"
        )
    return chosen
