"""What a run is made of, so that the same work is known again in any process, and only it."""

from ipo_dspy.runs.identity.record import (
    Examples,
    Part,
    RunIdentity,
    Setting,
    Thing,
    identity,
)

__all__ = ["Examples", "Part", "RunIdentity", "Setting", "Thing", "identity"]
