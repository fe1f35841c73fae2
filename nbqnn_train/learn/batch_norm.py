"""Batch norm over the images of all processes that train one network together."""

import torch
from torch import Tensor, nn
from torch.distributed import is_available, is_initialized

__all__ = ["synchronize_batch_norm"]


def synchronize_batch_norm(module: nn.Module) -> None:
    """Makes every batch norm in ``module`` take its statistics from all processes, in place.

    Parameters, buffers and evaluation stay as they are. PyTorch's own ``SyncBatchNorm`` does the
    same on GPUs alone.
    """
    for child in module.modules():
        if type(child) in _SYNCHRONIZED:
            child.__class__ = _SYNCHRONIZED[type(child)]


class _Synchronized:
    """Goes before a batch norm class: its training step then counts all processes."""

    def forward(self, value: Tensor) -> Tensor:
        if not (self.training and _processes() > 1):
            return super().forward(value)
        from torch.distributed.nn.functional import all_reduce

        axes = [axis for axis in range(value.dim()) if axis != 1]
        count = value.numel() // value.shape[1]
        mine = value.float()
        sums = torch.stack([mine.sum(axes), mine.square().sum(axes)])
        mean, square = all_reduce(sums) / (count * _processes())
        variance = (square - mean.square()).clamp_min(0)
        self._remember(mean.detach(), variance.detach(), count * _processes())
        return _normalized(value, mean, variance, self.weight, self.bias, self.eps)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # cumulative average
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_var.lerp_(unbiased.to(self.running_var), share)


class _Synchronized1d(_Synchronized, nn.BatchNorm1d):
    pass


class _Synchronized2d(_Synchronized, nn.BatchNorm2d):
    pass


_SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronized1d,
    nn.BatchNorm2d: _Synchronized2d,
}


def _normalized(
    value: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    gain = (variance + eps).rsqrt()
    if weight is not None:
        gain = gain * weight
    offset = -mean * gain if bias is None else bias - mean * gain
    shape = (1, -1, *(1,) * (value.dim() - 2))
    return (value * gain.reshape(shape) + offset.reshape(shape)).to(value.dtype)


def _processes() -> int:
    return torch.distributed.get_world_size() if is_available() and is_initialized() else 1
