"""hw.spatial: no circuit costs other than before."""

from tests.hw.kept_costs import compare
from tests.hw.spatial.costs import COSTS, costs


def test_costs():
    """``python -m tests.hw.spatial.costs`` keeps new ones where a change means to alter them."""
    compare(COSTS, costs())
