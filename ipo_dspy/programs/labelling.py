"""Many images without labels, through a program that classifies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ipo_dspy.errors import ArgumentError, UnreadableImage
from ipo_dspy.errors.arguments import Count, Share, checked
from ipo_dspy.images.image import ImageSource, open_image
from ipo_dspy.programs.probabilities import probabilities_of
from ipo_dspy.runs.progress import progress_bar

if TYPE_CHECKING:
    import dspy


IMAGES_AT_ONCE = 256
"""Images that are classified together; a run that is stopped loses at most so many."""


class Guess(NamedTuple):
    """A class and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class LabelledImage:
    """What a program says of one image.

    Attributes:
        image: as it was given.
        guesses: the most probable classes, best first; none where the image cannot be read.
        threshold: the probability below which the best guess is no label.
        error: why the image cannot be read; empty where it can.
    """

    image: ImageSource
    guesses: tuple[Guess, ...]
    threshold: Share = 0.0
    error: str = ""

    @property
    def label(self) -> str | None:
        """The best guess; None below the threshold, or where the image cannot be read."""
        if not self.guesses or self.guesses[0].probability < self.threshold:
            return None
        return self.guesses[0].label

    @property
    def probability(self) -> float | None:
        """Of the best guess, whether that became the label or not."""
        return self.guesses[0].probability if self.guesses else None


@checked
def label_images(
    program: dspy.Module,
    images: Sequence[ImageSource],
    *,
    top_k: Count = 5,
    threshold: Share = 0.0,
    progress: bool | None = None,
) -> Iterator[LabelledImage]:
    """Label images one after the other; those that cannot be read come with the reason.

    The work is done as results are taken, a few hundred images at a time, so memory stays small,
    and features are kept on disk: what was stopped goes on where it was.

    Args:
        program: a `CLIPClassifier`, or a module whose `predict_batch` gives its predictions.
        images: paths, PIL images or `dspy.Image`s; or what `find_images` gives.
        top_k: how many classes each result has, at least 1.
        threshold: a lower probability than this gives no label, 0 to 1.
        progress: show a bar with images per second; None shows it on a terminal or in a notebook.

    Raises:
        ArgumentError: an argument is out of its range, or the program is none that classifies.
    """
    if not hasattr(program, "predict_batch"):
        raise ArgumentError(
            f"A {type(program).__name__} does not classify images in one go; expected a "
            "CLIPClassifier, or a module with predict_batch(images)."
        )
    return _labelled(program, images, top_k, threshold, progress)


def _labelled(
    program: dspy.Module,
    images: Sequence[ImageSource],
    top_k: int,
    threshold: float,
    progress: bool | None,
) -> Iterator[LabelledImage]:
    with progress_bar("labelling", len(images), "image", progress) as bar:
        for start in range(0, len(images), IMAGES_AT_ONCE):
            some = list(images[start : start + IMAGES_AT_ONCE])
            for image, found in zip(some, _predictions(program, some), strict=True):
                if isinstance(found, UnreadableImage):
                    yield LabelledImage(image, (), threshold, str(found))
                else:
                    yield LabelledImage(image, _guesses(found, top_k), threshold)
            bar.update(len(some))


def _predictions(
    program: dspy.Module, images: Sequence[ImageSource]
) -> list[dspy.Prediction | UnreadableImage]:
    try:
        return list(program.predict_batch(images))
    except UnreadableImage:
        with ThreadPoolExecutor() as pool:
            errors = list(pool.map(_error_of, images))
        good = [image for image, error in zip(images, errors, strict=True) if error is None]
        if len(good) == len(images):
            raise
        predicted: Iterator[Any] = iter(program.predict_batch(good) if good else ())
        return [next(predicted) if error is None else error for error in errors]


def _error_of(image: ImageSource) -> UnreadableImage | None:
    try:
        open_image(image)
    except UnreadableImage as error:
        return error
    return None


def _guesses(prediction: dspy.Prediction, top_k: int) -> tuple[Guess, ...]:
    found = probabilities_of(prediction)
    if found is None:
        raise ArgumentError(
            "The program's predictions do not come from a CLIPPredict, so they have no "
            f"probabilities; they have {', '.join(prediction.keys()) or 'nothing'}."
        )
    import numpy as np

    order = np.argsort(-found.values, kind="stable").tolist()
    # Among equals the program has chosen one already.
    best = found.classnames.index(getattr(prediction, found.label_field))
    order.remove(best)
    return tuple(
        Guess(found.classnames[index], float(found.values[index]))
        for index in (best, *order)[:top_k]
    )
