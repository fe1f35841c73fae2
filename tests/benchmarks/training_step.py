"""Time and memory of one training step beside the same network in full precision, in one run.

python -m tests.benchmarks.training_step [--models resnet20 nbq] [--batch 128] [--brevitas]
    [--precision bf16-mixed]

Quantized steps are those of the longest phase: weights blended, activations quantized, batch norm
of the batch, exponents chosen every 16 steps. The networks take turns, step by step, so that what
else the machine does hits all of them alike; the table shows medians, and the ratio of medians of
the ratios within a turn. Memory is what tensors hold at most during a step, parameters and
gradients included.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from nbqnn_train.convert import QuantConfig, calibrate, convert
from nbqnn_train.learn.allocation import keep_freed_memory
from nbqnn_train.learn.memory_format import in_fast_layout
from nbqnn_train.learn.phases import Schedule
from nbqnn_train.models import build_model
from tests.benchmarks.tensor_memory import PeakMemory

__all__ = ["main", "measure"]

_SHAPES = {"lenet5": (1, 28, 28), "digits": (1, 8, 8)}
_CLASSES = 10
#: A schedule whose longest phase these steps are in.
_SCHEDULE = Schedule(steps=10_000, warmup=0.0, freeze=0.25, settle=0.05, blend_power=3)


def measure(
    name: str,
    batch: int,
    repeat: int,
    device: str,
    brevitas: bool = False,
    precision: str = "32",
) -> dict[str, tuple[list[float], int]]:
    """Seconds of each of ``repeat`` steps and peak bytes, by kind of network."""
    shape = _SHAPES.get(name, (3, 32, 32))
    torch.manual_seed(0)
    images = torch.rand(batch, *shape, device=device)
    labels = torch.randint(_CLASSES, (batch,), device=device)
    real = build_model(name, _CLASSES, shape[0]).to(device)
    quantized = convert(real, QuantConfig()).to(device)
    calibrate(quantized, [images])
    networks = {"float": real, "quantized": quantized}
    if brevitas:
        networks["brevitas"] = _brevitas(real)
    for network in networks.values():
        in_fast_layout(network)  # as training does
    steps = {kind: _step(network, images, labels, precision) for kind, network in networks.items()}
    mode, times = quantized.mode, {kind: [] for kind in networks}
    for number in range(repeat + 2):
        phase = _SCHEDULE.phase(1000 + number)
        mode.blend, mode.activations = phase.blend, phase.activations
        mode.frozen, mode.refresh = phase.frozen, phase.refresh
        for kind, step in steps.items():
            seconds = _timed(step, device)
            if number >= 2:  # the first ones allocate
                times[kind].append(seconds)
    mode.refresh = True
    return {kind: (times[kind], _peak(step, device)) for kind, step in steps.items()}


def _step(network: nn.Module, images, labels, precision: str) -> Callable[[], None]:
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision != "32"):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def _timed(step: Callable[[], None], device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _peak(step: Callable[[], None], device: str) -> int:
    if device == "cpu":
        with PeakMemory() as memory:
            step()
        return memory.peak
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated()


def _brevitas(real: nn.Module) -> nn.Module:
    """The same network with the layers of another library: 4-bit integer weights (it has no power
    of two levels of 3 bits), 8-bit activations."""
    from brevitas import nn as qnn
    from brevitas.graph.utils import replace_module
    from torch import fx

    graph = fx.symbolic_trace(real)
    for module in list(graph.modules()):
        new = None
        if type(module) is nn.Conv2d:
            new = qnn.QuantConv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
                groups=module.groups,
                bias=module.bias is not None,
                weight_bit_width=4,
            )
        elif type(module) is nn.Linear:
            new = qnn.QuantLinear(
                module.in_features, module.out_features, bias=True, weight_bit_width=4
            )
        elif type(module) is nn.ReLU:
            new = qnn.QuantReLU(bit_width=8)
        if new is not None:
            replace_module(graph, module, new)
    return graph.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet20", "nbq", "lenet5"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--brevitas", action="store_true")
    parser.add_argument("--precision", choices=["32", "bf16-mixed"], default="32")
    options = parser.parse_args()
    keep_freed_memory()  # as training does
    print(f"threads: {torch.get_num_threads()}; batch {options.batch}; {options.repeat} steps")
    print("network     kind         s / step   ratio  fastest    MiB   ratio")
    for name in options.models:
        found = measure(
            name,
            options.batch,
            options.repeat,
            options.device,
            options.brevitas,
            options.precision,
        )
        base, least = found["float"]
        for kind, (times, peak) in found.items():
            ratio = statistics.median(a / b for a, b in zip(times, base, strict=True))
            print(
                f"{name:11} {kind:11} {statistics.median(times):9.4f} {ratio:7.3f} "
                f"{min(times) / min(base):8.3f} {peak / 2**20:6.1f} {peak / least:7.3f}"
            )


if __name__ == "__main__":
    main()
