"""Seconds per image of the interpreter beside float32 PyTorch, in one run.

python -m tests.benchmarks.interpreter [--batch 1 8] [--repeat 3]
"""

import argparse
import time

import numpy as np
import torch

from nbqnn_train.graph import run
from tests.benchmarks.networks import alexnet, float_twin, resnet50

__all__ = ["main"]


def _best(repeat: int, call, *arguments) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(f"torch threads: {torch.get_num_threads()}; best of {options.repeat}; seconds per image")
    print("network    batch  first run  interpreter    torch  ratio")
    for name, build in (("AlexNet", alexnet), ("ResNet-50", resnet50)):
        graph = build()
        twin = float_twin(graph)
        for batch in options.batch:
            x = np.random.default_rng(1).standard_normal((batch, 3, 224, 224)).astype(np.float32)
            first = _best(1, run, graph, x)
            ours = _best(options.repeat, run, graph, x) / batch
            with torch.inference_mode():
                images = torch.from_numpy(x)
                twin(images)
                theirs = _best(options.repeat, twin, images) / batch
            print(
                f"{name:10} {batch:5} {first / batch:10.3f} {ours:12.3f} "
                f"{theirs:8.3f} {ours / theirs:6.2f}"
            )


if __name__ == "__main__":
    main()
