"""Says what cannot be converted, where it is and what helps: all at once, on one screen."""

from dataclasses import dataclass

from nbqnn_train.graph.errors import NbqnnError

__all__ = ["NetworkRefused", "Refusal", "Unsupported", "counted", "twice"]

#: How many kinds of refusals a message lists, and how many places of each.
_KINDS = 8
_PLACES = 3
#: Most characters of one place: paths of modules can be long.
_PLACE_WIDTH = 60


class Unsupported(Exception):
    """Why one operation cannot be quantized, and what helps."""

    def __init__(self, reason: str, remedy: str = "", kind: str = "operation"):
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.kind = kind


@dataclass(frozen=True)
class Refusal:
    """One place of a network that cannot be converted.

    kind : "operation", "shape", "weights", "input", "output", "width" or "module" (which could not
        be read at all).
    path : of the module; empty for the network itself.
    source : "file:line" in the user's code; empty where there is none.
    operation : name of PyTorch's operator; empty where none is concerned.
    reason : what is not supported.
    remedy : what to do; empty where nothing is known.
    """

    kind: str
    path: str
    source: str
    operation: str
    reason: str
    remedy: str = ""

    @property
    def place(self) -> str:
        path = self.path or "the module itself"
        if len(path) > _PLACE_WIDTH:
            path = "…" + path[1 - _PLACE_WIDTH :]
        return f"{path} ({self.source})" if self.source else path


class NetworkRefused(NbqnnError):
    """A network that cannot be converted.

    refusals : every place.
    """

    def __init__(self, network: str, refusals: list[Refusal]):
        self.refusals = tuple(refusals)
        super().__init__(_message(network, self.refusals))


def _message(network: str, refusals: tuple[Refusal, ...]) -> str:
    kinds: dict[tuple[str, str], list[Refusal]] = {}
    for refusal in refusals:
        kinds.setdefault((refusal.reason, refusal.remedy), []).append(refusal)
    if len(kinds) == 1:
        return f"{network} cannot be converted: {counted(*kinds.popitem())}"
    by_count = sorted(kinds.items(), key=lambda item: -len(item[1]))
    lines = [f"{network} cannot be converted, for {len(kinds)} reasons:"]
    lines += [f"  {counted(*item)}" for item in by_count[:_KINDS]]
    if len(by_count) > _KINDS:
        rest = sum(len(places) for _, places in by_count[_KINDS:])
        lines.append(f"  and {len(by_count) - _KINDS} more reasons in {rest} places")
    return "\n".join(lines)


def counted(kind: tuple[str, str], places: list[Refusal]) -> str:
    """One line for all ``places`` of a reason and a remedy: how many, and the first of them."""
    reason, remedy = kind
    count = f", {len(places)} times" if len(places) > 1 else ""
    shown = list(dict.fromkeys(refusal.place for refusal in places))
    more = f" and {len(shown) - _PLACES} more places" if len(shown) > _PLACES else ""
    where = ", ".join(shown[:_PLACES]) + more
    return f"{reason}{count}, at {where}" + (f"; {remedy}" if remedy else "")


def twice(final: str, before: list[str]) -> Refusal:
    """The refusal of an output that was returned with the finals ``before``."""
    reason, remedy = "an output that is returned twice", "return each tensor once"
    if final not in before:
        named = final if before == ["none"] else before[0]
        reason = f"an output that is returned with and without its {named}"
        remedy = f"return one of the two; {named} at the end is left to the host"
    return Refusal("output", "", "", "", reason, remedy)
