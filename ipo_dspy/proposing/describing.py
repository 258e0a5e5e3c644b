"""The descriptions of the training images: made once, kept, and told without class names."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import dspy

from ipo_dspy.errors import OutOfTimeError, stop
from ipo_dspy.images.examples import image_of
from ipo_dspy.proposing.describers import Describer, mask_class_names
from ipo_dspy.proposing.faults import advice
from ipo_dspy.records import Description
from ipo_dspy.runs.journal import EventLog, records

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 4096
"""So much of a description is kept, for each call of the prompt model is told all of them."""

MOST_WORDS = 20
"""Words that sum up the descriptions of all images."""

MOST_FAILURES = 10
"""So many failures in a row say that the image model does not work."""


def spread_images(examples: Sequence[dspy.Example], most: int) -> list[object]:
    """The images of at most `most` examples at even distances; none if one has no image."""
    if len(examples) > most:
        examples = [examples[index * len(examples) // most] for index in range(most)]
    images = [image_of(example) for example in examples]
    return [] if any(image is None for image in images) else images


def describe_images(
    describer: Describer,
    images: Sequence[object],
    classnames: Sequence[str],
    log: EventLog,
    most_failures: int,
    *,
    sum_up: bool = False,
) -> list[str]:
    """Describe images as the prompt model reads them: numbered, and without class names.

    Args:
        describer: what describes.
        images: the images, in an order that stays the same.
        classnames: what no description may name.
        log: where descriptions are kept.
        most_failures: so many failures in a row end the search.
        sum_up: make one line with counts of descriptions that are lists of words.

    Returns:
        One text for each image that could be described, with the image's number, or one for all.

    Raises:
        See `descriptions_by_number`.
    """
    texts = descriptions_by_number(describer, images, log, most_failures)
    masked = mask_class_names(list(texts.values()), classnames)
    if sum_up and masked and getattr(describer, "lists_words", False):
        return [word_counts(masked)]
    return [f"Image {index}: {text}" for index, text in zip(texts, masked, strict=True)]


def descriptions_by_number(
    describer: Describer,
    images: Sequence[object],
    log: EventLog,
    most_failures: int = MOST_FAILURES,
) -> dict[int, str]:
    """Describe the images that the log has no description of, and give all descriptions.

    Args:
        describer: what describes.
        images: the images, in an order that stays the same.
        log: where descriptions are kept.
        most_failures: so many failures in a row end the search.

    Returns:
        The texts by the images' numbers; images that could not be described are missing.

    Raises:
        SearchStoppedError: the image model cannot be used, or described no image at all.
        JournalError: a description cannot be kept.
    """
    failures = 0
    known = _known(log)
    missing = {index: image for index, image in enumerate(images) if index not in known}
    try:
        for said in describer.describe(missing) if missing else ():
            description = _bounded(said)
            log.append({"description": description.model_dump()})
            known[description.index] = description
            failures = failures + 1 if description.text is None else 0
            if failures >= most_failures:
                stop(
                    f"The image model failed {failures} times in a row; the last error: "
                    f"{description.error}. "
                    + advice(description.error or "", "Check it, or describe images without one.")
                )
    except OutOfTimeError:
        logger.warning("The time was up with %d of %d images described.", len(known), len(images))
        return {index: d.text for index, d in sorted(known.items()) if d.text is not None}
    texts = {index: d.text for index, d in sorted(known.items()) if d.text is not None}
    if known and not texts:
        first = next(iter(known.values()))
        stop(
            f"No image could be described; the first error: {first.error}. "
            + advice(first.error or "", "Check the image model, or describe images without one.")
        )
    if len(texts) < len(known):
        logger.warning("%d of %d images have no description.", len(known) - len(texts), len(images))
    return texts


def _bounded(description: Description) -> Description:
    text = description.text
    if text is None or len(text) <= MOST_CHARACTERS:
        return description
    logger.warning(
        "The description of image %d has %d characters; the first %d are kept.",
        description.index,
        len(text),
        MOST_CHARACTERS,
    )
    return description.model_copy(update={"text": text[:MOST_CHARACTERS]})


def word_counts(descriptions: Sequence[str]) -> str:
    """Sum up lists of words, best first with commas between them: how many images each fits.

    Forty nearly equal lists are long to read, and tell no more.
    """
    counts: Counter[str] = Counter()
    for description in descriptions:
        counts.update(dict.fromkeys((word.strip() for word in description.split(",")), 1))
    common = [f"{word} ({count})" for word, count in counts.most_common(MOST_WORDS)]
    return f"Words that fit the {len(descriptions)} images, and how many each: {', '.join(common)}"


def _known(log: EventLog) -> dict[int, Description]:
    """What an earlier run described.

    What failed is asked again, unless proposals were already made without it.
    """
    begun = bool(records(log.events, "reply"))
    described = [Description.model_validate(body) for body in records(log.events, "description")]
    return {d.index: d for d in described if d.text is not None or begun}
