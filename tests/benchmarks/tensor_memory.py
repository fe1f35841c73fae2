"""How many bytes tensors on the CPU hold at most."""

from typing import Self

from torch.profiler import ProfilerActivity, profile

__all__ = ["PeakMemory"]


class PeakMemory:
    """While it is entered, follows what PyTorch allocates and frees; ``peak`` counts from what was
    held then. Counted are requests, not what the C library makes of them."""

    peak: int = 0

    def __enter__(self) -> Self:
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._profile.__exit__(*error)
        held = 0
        for event in sorted(self._memory_events(), key=lambda e: e.start_ns()):
            held += event.nbytes()
            self.peak = max(self.peak, held)

    def _memory_events(self):
        events = self._profile.profiler.kineto_results.events()
        return [event for event in events if event.name() == "[memory]"]
