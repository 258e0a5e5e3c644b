"""Where learned vectors stand in the text of a class, and what they are at the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ipo_dspy.encoders.prompted_towers import PlacedTexts, Towers, placed_texts
from ipo_dspy.errors import ArgumentError, EncoderError, InvalidTemplateError
from ipo_dspy.prompts.template import SLOT, Template

Position = Literal["end", "middle", "front"]
"""Where the class name stands: behind the vectors, between two halves of them, or before them."""

INITIAL_WORDS = "a photo of a"
"""What all five learners start from."""
SPREAD = 0.02
"""Standard deviation of vectors that start at random."""
_PLACEHOLDER = "X"
_ALONE = (SLOT, f"{SLOT}.")


@dataclass(frozen=True)
class Context:
    """Learned vectors, and the text behind them that is not learned.

    `a photo of a <CLASS>.` with four vectors leaves `<CLASS>.`, with two `of a <CLASS>.`

    Attributes:
        text: one line; it stands behind the vectors.
        n: how many vectors there are.
        words: the n tokens that they start as; empty where they start at random.
        position: where the class name stands; other than at the end, `text` is the name alone.
    """

    text: Template
    n: int
    words: str = ""
    position: Position = "end"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ArgumentError(f"n_ctx must be at least 1, got {self.n}.")
        if self.position not in list(get_args(Position)):
            raise ArgumentError(
                f"position must be one of {', '.join(get_args(Position))}, got {self.position!r}."
            )
        if len(self.text.lines) > 1:
            raise ArgumentError(
                f"Vectors are learned for one line, got {len(self.text.lines)}; choose one of "
                f"{self.text.text!r}."
            )
        if self.position != "end" and self.text.text not in _ALONE:
            raise ArgumentError(
                f"With position={self.position!r} all words must be learned and stand before the "
                f"class name, but {self.text.text!r} is left."
            )

    @classmethod
    def of(
        cls, towers: Towers, init: str | None, n: int | None, position: Position = "end"
    ) -> Context:
        """Make what a learner was told to start from.

        Args:
            towers: whose tokens are counted.
            init: words before the class name, or a template of one line; None starts at random.
            n: how many vectors, the first words becoming vectors and the others staying text; None
                takes all words before the class name. Where it is more than `INITIAL_WORDS` has,
                the vectors start at random, as the authors have it.
            position: where the class name stands.

        Raises:
            ArgumentError: there are fewer words than vectors, no words and no number, or the last
                vector would be a part of a word.
        """
        template = Template(f"{SLOT}.") if init is None else _template(init)
        head, slot, tail = template.text.partition(SLOT)
        # What touches the slot belongs to the class name's own tokens.
        head, _, touching = head.rpartition(" ")
        words = head.split()
        counts = _running_counts(towers, words)
        if n is None and not words:
            raise ArgumentError(
                "There are no words before the class name to start from; give n_ctx, how many "
                "vectors to learn."
            )
        n = counts[-1] if n is None else n
        if not words or (init == INITIAL_WORDS and n > counts[-1]):
            return cls(Template(touching + slot + tail), n, position=position)
        if n not in counts:
            raise ArgumentError(
                f"n_ctx={n} does not fit {' '.join(words)!r}, whose words end after "
                f"{', '.join(map(str, counts))} tokens; choose one of these, or init=None to start "
                "at random."
            )
        learned = counts.index(n) + 1
        rest = " ".join([*words[learned:], touching + slot + tail])
        return cls(Template(rest), n, " ".join(words[:learned]), position)

    def place(self, towers: Towers, classnames: Sequence[str]) -> PlacedTexts:
        """Fill in class names.

        Raises:
            ArgumentError: a text is too long for the tower, or the vectors alone are.
            EncoderError: the tokenizer has no token that can stand for a vector.
        """
        room = towers.encoder.context_length
        if self.n + 3 > room:
            raise ArgumentError(
                f"n_ctx={self.n} leaves no room for a class name among the {room} tokens that "
                f"{towers.encoder.spec} reads; give at most {room - 3}."
            )
        vectors = " ".join([_PLACEHOLDER] * self.n)
        [alone] = towers.tokenize([vectors])
        if len(alone) != self.n + 2:
            raise EncoderError(
                f"vectors cannot be learned with the tokenizer of {towers.encoder.spec}: it makes "
                f"{len(alone)} tokens of {self.n} letters, expected one of each, a start and an end"
            )
        rows = towers.tokenize([f"{vectors} {self.text.fill(name)[0]}" for name in classnames])
        orders = [self._order(len(row)) for row in rows]
        tokens = [[row[place] for place in order] for row, order in zip(rows, orders, strict=True)]
        slots = [[place - 1 if 1 <= place <= self.n else -1 for place in order] for order in orders]
        return placed_texts(tokens, slots, towers.device)

    def initial(self, towers: Towers, generator: torch.Generator) -> Tensor:
        """The vectors at the start: [n, W] float32."""
        if not self.words:
            return SPREAD * torch.randn(self.n, towers.text.width, generator=generator)
        [row] = towers.tokenize([self.words])
        return towers.text.embedding[row[1:-1]].float().clone()

    def _order(self, length: int) -> list[int]:
        """From places in the text to places in vectors, name, full stop."""
        before = {"end": self.n, "middle": self.n // 2, "front": 0}[self.position]
        name_ends = length - 2 if self.text.text.endswith(".") else length - 1
        vectors, name = range(1, 1 + self.n), range(1 + self.n, name_ends)
        return [0, *vectors[:before], *name, *vectors[before:], *range(name_ends, length)]


def _template(init: str) -> Template:
    try:
        return Template(init)
    except InvalidTemplateError:
        return Template(f"{init.strip()} {SLOT}.")


def _running_counts(towers: Towers, words: Sequence[str]) -> list[int]:
    """After how many tokens each word ends."""
    texts = [" ".join(words[: number + 1]) for number in range(len(words))]
    return [len(row) - 2 for row in towers.tokenize(texts)] if texts else []
