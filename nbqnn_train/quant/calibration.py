"""Chooses formats of activations and means of batch norm from inputs alone, without labels."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nbqnn_train.graph.errors import NbqnnError
from nbqnn_train.quant.activations import EXPONENTS
from nbqnn_train.quant.formats import Format
from nbqnn_train.quant.network import QuantNetwork
from nbqnn_train.quant.norm import NormOp
from nbqnn_train.quant.operators.operator import Operator
from nbqnn_train.quant.operators.table import TableOp
from nbqnn_train.quant.ops import AvgPoolOp, ConcatOp, InputOp, TrainingOp

__all__ = ["calibrate_network", "choose_formats", "estimate_means", "negative_steps"]


def calibrate_network(network: QuantNetwork, batches: Iterable[Tensor]) -> None:
    """Chooses the format of every activation from real inputs (N, C, H, W).

    Raises :class:`NbqnnError` for a function that is not finite for every code of its input.
    """
    was_training, was_calibrating = network.training, network.mode.calibrating
    for quantizer in network.quantizers():
        quantizer.reset()
    network.mode.calibrating = True
    network.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                network(*batch) if isinstance(batch, tuple) else network(batch)
    finally:
        network.mode.calibrating = was_calibrating
        network.train(was_training)
    choose_formats(network)
    formats = network.formats()
    for step in network.steps:
        op = network.ops[step.name]
        if isinstance(op, TableOp):
            op.table(formats[step.inputs[0]])


def estimate_means(network: QuantNetwork, batches: Iterable[Tensor]) -> None:
    """Sets the running means of batch norm to the means over real inputs (N, C, H, W).

    Each layer sees the codes of the layers before it. Scales stay, because the levels of the
    weights follow from them.
    """
    mode = network.mode
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    frozen, refresh = mode.frozen, mode.refresh
    was_training = network.training
    mode.frozen, mode.refresh = False, False
    network.train()
    for op in network.ops.values():
        op.train(not isinstance(op, TrainingOp))
    try:
        with torch.no_grad():
            for number, batch in enumerate(batches, 1):
                for norm in norms:
                    norm.momentum = 1 / number
                network(*batch) if isinstance(batch, tuple) else network(batch)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        mode.frozen, mode.refresh = frozen, refresh
        network.train(was_training)


def choose_formats(network: QuantNetwork) -> None:
    """Sets the formats of all quantizers and forgets what they recorded.

    What is concatenated gets one format, chosen from all of its values, so that nothing is
    requantized on its way into a concatenation; operands of other widths are the exception.
    """
    groups = _groups(network)
    signed = _signed(network, groups)
    exponents = {}
    for leader in dict.fromkeys(groups.values()):
        members = [network.quantizer(name) for name, other in groups.items() if other == leader]
        recorded = [sample for member in members for sample in member.recorded()]
        alone = len(members) == 1
        error, counted = (members[0].error, members[0].counted()) if alone else (None, None)
        _check_reach(network, leader, recorded, signed[leader])
        exponents[leader] = members[0].best_exponent(recorded, signed[leader], error, counted)
    _coarsen(network, groups, signed, exponents)
    for name, leader in groups.items():
        quantizer = network.quantizer(name)
        quantizer.reset()
        quantizer.set_format(exponents[leader], signed[leader])


def _check_reach(network: QuantNetwork, name: str, recorded: list[Tensor], signed: bool) -> None:
    """Raises :class:`NbqnnError` where no format holds the values of a step, or none tells inputs
    from zero."""
    reach = max((float(sample.abs().max()) for sample in recorded), default=0.0)
    most = (Format(network.quantizer(name).bits, signed, EXPONENTS).high + 1) * 2.0**EXPONENTS
    what, remedy = f"Values of {name!r}", "scale weights or inputs"
    if isinstance(network.ops[name], InputOp):
        what, remedy = f"Inputs {name!r}", "scale them"
        if 0 < reach < 2.0**-EXPONENTS:
            raise NbqnnError(f"{what} must reach {2.0**-EXPONENTS:.1e}, not {reach:.1e}; {remedy}")
    if reach > most:
        raise NbqnnError(f"{what} must not exceed {most:.1e}, not reach {reach:.1e}; {remedy}")


def _groups(network: QuantNetwork) -> dict[str, str]:
    """Maps each step with a quantizer to the leader of its group. A group has one format."""
    leader = {step.name: step.name for step in network.steps if network.quantizer(step.name)}
    holders = _holders(network)

    for step in network.steps:
        op = network.ops[step.name]
        if not isinstance(op, ConcatOp) and not (isinstance(op, AvgPoolOp) and op.copies):
            continue
        for source in step.inputs:
            holder = holders[source]
            if network.quantizer(holder).bits == network.quantizer(step.name).bits:
                old, new = leader[step.name], leader[holder]
                leader = {name: new if at == old else at for name, at in leader.items()}
    return leader


def _holders(network: QuantNetwork) -> dict[str, str]:
    """Maps each step to the step whose quantizer sets the format of its value."""
    holders: dict[str, str] = {}
    for step in network.steps:
        keeps = network.quantizer(step.name) is None
        holders[step.name] = holders[step.inputs[0]] if keeps else step.name
    return holders


def negative_steps(network: QuantNetwork) -> set[str]:
    """The steps whose values can be negative, as far as is known: before anything is recorded,
    inputs are taken for positive."""
    groups, holders = _groups(network), _holders(network)
    signed = _signed(network, groups)
    return {step.name for step in network.steps if signed[groups[holders[step.name]]]}


def _signed(network: QuantNetwork, groups: dict[str, str]) -> dict[str, bool]:
    """Maps the leader of each group to whether values of the group can be negative."""
    holders = _holders(network)
    signed = dict.fromkeys(groups.values(), False)
    changed = True
    while changed:
        changed = False
        for name, leader in groups.items():
            if signed[leader]:
                continue
            op, quantizer = network.ops[name], network.quantizer(name)
            if isinstance(op, InputOp):
                negative = quantizer.recorded_negative()
            elif isinstance(op, (Operator, NormOp)):
                sources = next(step.inputs for step in network.steps if step.name == name)
                negative = op.negative([signed[groups[holders[source]]] for source in sources])
            elif hasattr(op, "finest_exponent"):
                # Sums, averages and concatenations of what is not negative are not negative.
                sources = next(step.inputs for step in network.steps if step.name == name)
                negative = quantizer.limits[0] < 0 and any(
                    signed[groups[holders[source]]] for source in sources
                )
            else:
                negative = quantizer.limits[0] < 0
            if negative:
                signed[leader] = changed = True
    return signed


def _coarsen(
    network: QuantNetwork,
    groups: dict[str, str],
    signed: dict[str, bool],
    exponents: dict[str, int],
) -> None:
    """Raises exponents to the least that the requantizers of sums and averages can reach."""
    holders = _holders(network)

    def source_format(name: str) -> Format:
        holder = holders[name]
        leader = groups[holder]
        return Format(network.quantizer(holder).bits, signed[leader], exponents[leader])

    changed = True
    while changed:
        changed = False
        for step in network.steps:
            op = network.ops[step.name]
            if not hasattr(op, "finest_exponent"):
                continue
            finest = op.finest_exponent([source_format(source) for source in step.inputs])
            leader = groups[step.name]
            if exponents[leader] < finest:
                exponents[leader] = finest
                changed = True
