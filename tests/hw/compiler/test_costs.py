"""hw.compiler: no program costs other than before."""

from tests.hw.compiler.costs import COSTS, costs
from tests.hw.kept_costs import compare


def test_costs():
    """``python -m tests.hw.compiler.costs`` keeps new ones where a change means to alter them."""
    compare(COSTS, costs())
