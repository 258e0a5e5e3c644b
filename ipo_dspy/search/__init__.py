"""The search: ask, judge, remember, stop."""
