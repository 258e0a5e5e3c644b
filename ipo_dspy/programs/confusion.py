"""Which classes a template confuses: by images where there are some, else by the texts alone."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from ipo_dspy.images.examples import image_of, label_of
from ipo_dspy.programs.predict import ZeroShotPredict, label_field

TAKEN_FOR = 3
"""So many of the classes that a class is most often taken for are told."""


def confused_classes(
    predictor: ZeroShotPredict,
    classnames: Sequence[str],
    examples: Sequence[dspy.Example] = (),
) -> dict[str, tuple[str, ...]]:
    """Say what each class is taken for, the most confused class first.

    A class is the more confused, the smaller the mean probability of its images for it. Classes
    without images come last, ordered by how probable their own text makes other classes.

    Args:
        predictor: has the template; texts of single classes play no part.
        classnames: the classes, told apart among themselves.
        examples: labelled images of some of them; others are left out.
    """
    import torch

    embedder, template = predictor.embedder, predictor.template
    field = label_field(predictor.signature)
    places = {name: place for place, name in enumerate(classnames)}
    usable = [
        (image, places[label])
        for example in examples
        if (label := label_of(example, field)) in places
        and (image := image_of(example)) is not None
    ]
    with torch.inference_mode():
        texts = embedder.text_features(template, classnames)
        means = embedder.logits(texts, texts).softmax(dim=-1).double()
        seen = torch.zeros(len(classnames))
        if usable:
            labels = torch.tensor([place for _, place in usable])
            images = embedder.image_features([image for image, _ in usable])
            probabilities = embedder.logits(images, texts).softmax(dim=-1).double()
            seen = labels.bincount(minlength=len(classnames))
            sums = torch.zeros_like(means).index_add_(0, labels, probabilities)
            means = torch.where(seen[:, None] > 0, sums / seen[:, None].clamp(min=1), means)
        own = means.diagonal().clone()
        means.fill_diagonal_(-1.0)
        most = means.topk(min(TAKEN_FOR, len(classnames) - 1), dim=-1).indices.tolist()
    order = sorted(range(len(classnames)), key=lambda place: (not seen[place], float(own[place])))
    return {classnames[place]: tuple(classnames[other] for other in most[place]) for place in order}
