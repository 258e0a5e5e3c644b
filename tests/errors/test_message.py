"""What an error says: one line, of bounded length."""

from ipo_dspy.errors import ArgumentError, IPOError


def test_a_message_is_one_line_whatever_stands_in_it() -> None:
    assert str(IPOError("a\nb\u2028c\ud800")) == r"a\nb\u2028c\ud800"


def test_a_long_message_keeps_what_is_wrong_and_what_to_do() -> None:
    message = str(ArgumentError(f"{'a' * 100_000!r} is no learner. Name another."))
    assert message.startswith("'aaa")
    assert message.endswith("is no learner. Name another.")
    assert len(message) < 2000
