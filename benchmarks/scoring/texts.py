"""Text features against open_clip's: the same numbers, how much sooner?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import open_clip
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.timing import Work, alternate, matrix_rate, operations_of
from benchmarks.scoring.workload import MODEL, PROMPTS, Workload, filled, random_features

CLASSES = 100
CLASSIFIER_CLASSES = 1000
FEW_CLASSES = 10
IMAGES = 10_000
_TOGETHER, _APART, _AS_ONE = "together", "apart", "as one"
_OURS, _HALF, _OPEN_CLIP, _OPEN_CLIP_HALF = (
    "float32",
    "bfloat16",
    "open_clip",
    "open_clip in bfloat16",
)


def measure_features(workload: Workload) -> list[Row]:
    """Encode the poster's prompts with 100 class names each, at float32 and at bfloat16.

    open_clip encodes them prompt by prompt; all of them at once takes it longer.
    """
    encoders = {name: workload.encoder(name) for name in (_OURS, _HALF)}
    groups = [filled(prompt, CLASSES) for prompt in PROMPTS]
    outputs: list[dict[str, Tensor]] = []
    total: Counter[str] = Counter()

    for encoder in encoders.values():
        encoder.encode_texts(groups[0][:2])
    for group in groups:
        works = {
            _OPEN_CLIP: Work(partial(_encode, workload, group)),
            **{name: Work(partial(each.encode_texts, group)) for name, each in encoders.items()},
        }
        total.update(alternate(works, workload.rounds))
        outputs.append({name: work.result for name, work in works.items()})
        outputs[-1][_OPEN_CLIP_HALF] = _encode(workload, group, half=True)
    seconds = dict(total)
    found = {name: torch.stack([output[name] for output in outputs]) for name in outputs[0]}
    against = "open_clip encode_text, float32"
    return [
        Row(
            what="text features, float32",
            against=against,
            figures={
                "times as fast": Figure(seconds[_OPEN_CLIP] / seconds[_OURS], at_least=6.5),
                "largest difference": Figure(
                    (found[_OURS] - found[_OPEN_CLIP]).abs().max().item(), at_most=1e-5
                ),
            },
            seconds=seconds,
        ),
        Row(
            what="text features, bfloat16",
            against=against,
            figures={
                "times as fast": Figure(seconds[_OPEN_CLIP] / seconds[_HALF], at_least=16),
                "smallest cosine": Figure(_cosine(found[_HALF], found[_OPEN_CLIP]), 0.9999),
                "equal top-1": Figure(_equal_top_1(found[_HALF], found[_OPEN_CLIP]), 0.995),
                "equal top-1 of open_clip in bfloat16": Figure(
                    _equal_top_1(found[_OPEN_CLIP_HALF], found[_OPEN_CLIP])
                ),
                "texts a second": Figure(len(PROMPTS) * CLASSES / seconds[_HALF]),
                "share of the matrix rate": Figure(
                    operations_of(lambda: encoders[_HALF].encode_templates(groups))
                    / seconds[_HALF]
                    / matrix_rate(workload.device)
                ),
            },
            seconds=seconds,
        ),
    ]


def measure_classifier(workload: Workload) -> list[Row]:
    """Build a classifier for one template over 1,000 classes."""
    encoder, tokenizer = workload.encoder(), open_clip.get_tokenizer(MODEL)
    encoder.encode_texts(["a cat", "a dog"])
    names = open_clip.IMAGENET_CLASSNAMES[:CLASSIFIER_CLASSES]

    def ours() -> Tensor:
        return encoder.encode_templates([filled("a photo of a <CLASS>.", CLASSIFIER_CLASSES)])[0]

    def theirs() -> Tensor:
        templates = ("a photo of a {}.",)
        columns: Tensor = open_clip.build_zero_shot_classifier(
            workload.model, tokenizer, names, templates, device=workload.device
        )
        return columns.T.cpu()

    works = {_OURS: Work(ours), _OPEN_CLIP: Work(theirs)}
    seconds = alternate(works, workload.rounds)
    difference = (works[_OURS].result - works[_OPEN_CLIP].result).abs().max().item()
    return [
        Row(
            what="a classifier for one template over 1,000 classes",
            against="open_clip build_zero_shot_classifier",
            figures={
                "times as fast": Figure(seconds[_OPEN_CLIP] / seconds[_OURS], at_least=6),
                "largest difference": Figure(difference, at_most=1e-5),
            },
            seconds=seconds,
        )
    ]


def measure_passes(workload: Workload) -> list[Row]:
    """Encode small templates of one step together, apart, and as if they were one template."""
    encoder = workload.encoder()
    groups = [
        filled(f"{start} <CLASS>{end}", FEW_CLASSES)
        for start in ("a", "a photo of a", "a bright sketch showing one", "some")
        for end in (".", " outside.", " in the snow, seen from above.", " of old times")
    ]
    works = {
        _TOGETHER: Work(lambda: encoder.encode_templates(groups)),
        _APART: Work(lambda: encoder.encode_templates(groups, exact=True)),
        _AS_ONE: Work(lambda: encoder.encode_texts([text for group in groups for text in group])),
    }
    encoder.encode_texts(groups[0][:2])
    seconds = alternate(works, 2 * workload.rounds)
    difference = (works[_TOGETHER].result - works[_APART].result).abs().max().item()
    return [
        Row(
            what=f"{len(groups)} templates of {FEW_CLASSES} classes sharing passes",
            against="each by itself, exact=True",
            figures={
                "times as fast": Figure(seconds[_APART] / seconds[_TOGETHER], at_least=1),
                "times as long as one template of all texts": Figure(
                    seconds[_TOGETHER] / seconds[_AS_ONE], at_most=1.1
                ),
                "largest difference": Figure(difference, at_most=1e-6),
            },
            seconds=seconds,
        )
    ]


@torch.inference_mode()
def _encode(workload: Workload, texts: Sequence[str], *, half: bool = False) -> Tensor:
    tokens = open_clip.get_tokenizer(MODEL)(list(texts)).to(workload.device)
    with torch.autocast(workload.device, torch.bfloat16, enabled=half):
        features: Tensor = workload.model.encode_text(tokens)
    return normalize(features.float(), dim=-1).cpu()


def _cosine(found: Tensor, expected: Tensor) -> float:
    return (found * expected).sum(dim=-1).min().item()


def _equal_top_1(found: Tensor, expected: Tensor) -> float:
    """The share of random images with the same best class, over all prompts."""
    images = random_features(IMAGES, found.shape[-1])
    best = [(images @ features.transpose(1, 2)).argmax(dim=-1) for features in (found, expected)]
    return (best[0] == best[1]).float().mean().item()
