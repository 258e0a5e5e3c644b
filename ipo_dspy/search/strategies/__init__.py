"""What to ask next: the seam of strategies, and ours."""

from ipo_dspy.search.strategies.base import (
    Ask,
    Candidate,
    SearchView,
    Strategy,
    make_strategy,
)

__all__ = ["Ask", "Candidate", "SearchView", "Strategy", "make_strategy"]
