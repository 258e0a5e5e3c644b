import pytest

from ipo_dspy import registry
from ipo_dspy.errors import IPOError, UnknownNameError


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_name_of_ours_can_be_imported(kind: str) -> None:
    for name in registry.names(kind):
        assert callable(registry.find(kind, name)), name


def test_an_unknown_name_is_told_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="'open_clip'"):
        registry.find("encoders", "openclip")


def test_an_unknown_kind_is_no_bare_key_error() -> None:
    with pytest.raises(IPOError, match="colours"):
        registry.find("colours", "red")
