"""hw.compiler: no program costs other than before."""

import json

from tests.hw.compiler.costs import COSTS, costs


def test_costs():
    """``python -m tests.hw.compiler.costs`` keeps new ones where a change means to alter them."""
    before = json.loads(COSTS.read_text("utf-8"))
    now = dict(costs())
    assert now.keys() == before.keys()
    changed = {name: (before[name], now[name]) for name in now if now[name] != before[name]}
    shown = [f"{name}: {was} -> {is_}" for name, (was, is_) in list(changed.items())[:5]]
    assert not changed, "\n".join([f"{len(changed)} of {len(now)} programs changed", *shown])
