"""Every word that is ever sent to a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.records import ScoredPrompt
from ipo_dspy.upstream.dspy_parts import description_of


class ClassifyImage(dspy.Signature):
    """a photo of a <CLASS>."""

    image: dspy.Image = dspy.InputField(desc="the image to classify")
    label: str = dspy.OutputField(
        desc="the class whose name, put into the instruction text, fits the image best. "
        f"The instruction is a CLIP prompt template: one short phrase that describes an image and "
        f"keeps the placeholder {SLOT} exactly once; it is no instruction to a language model"
    )


class DescribeImage(dspy.Signature):
    """Please describe the image in detail. Do not give the name of the object's class."""

    image: dspy.Image = dspy.InputField()
    description: str = dspy.OutputField(
        desc="what is seen: medium, material, colours, lighting, viewpoint, setting"
    )


class DescribeClass(dspy.Signature):
    """Say what tells pictures of a class from pictures of the classes that it is confused with.

    Write short phrases for captions, each about one thing that is seen: its outline, its parts,
    its colours. Leave out the name of the class, and what no picture shows.
    """

    class_name: str = dspy.InputField(desc="what is described")
    template: str = dspy.InputField(
        desc=f"the caption that each phrase is put behind, with the class name for {SLOT}"
    )
    confused_with: list[str] = dspy.InputField(desc="classes that it is most often taken for")
    descriptions: str = dspy.OutputField(desc="the phrases, one a line, and nothing else")


def describe_class(signature: type[dspy.Signature], count: int) -> type[dspy.Signature]:
    """Ask for a number of descriptions in a signature with the fields of `DescribeClass`."""
    said = f"up to {count} short phrases, one a line, and nothing else; `{NOTHING_KNOWN}` alone "
    return signature.with_updated_fields(
        "descriptions", desc=f"{said}where nothing is known of the class"
    )


NOTHING_KNOWN = "none"
"""What is answered where nothing is known."""


class ProposePrompt(dspy.Signature):
    """Propose one new prompt, following the meta-prompt."""

    meta_prompt: str = dspy.InputField(desc="the task, how prompts are scored, and the goal")
    image_descriptions: list[str] = dspy.InputField(desc="what the training images look like")
    scored_history: list[ScoredPrompt] = dspy.InputField(
        desc="earlier prompts, worst first and best last; lower loss and higher accuracy are better"
    )
    prompt: str = dspy.OutputField(desc="the new prompt alone, on one line, without quotes")


class ProposeInstruction(ProposePrompt):
    """Propose one new instruction, following the meta-prompt."""

    prompt: str = dspy.OutputField(
        desc="the new instruction alone and in full, as it shall stand; it may have several lines"
    )


CLASSES_NAMED = 5
"""So many class names give an idea of the domain."""
_CHARACTERS_PER_WORD = 5.5

SECTIONS = ("meta_prompt", "image_descriptions", "scored_history")


@checked
@dataclass(frozen=True)
class MetaPrompt:
    """The three instructions to the prompt model and the order of its sections.

    `facts` may have the slots `{images}`, `{points}`, `{classes}` and `{names}`; `losers`
    introduces the tried prompts that are not in the history; both are left out where empty. `order`
    is a permutation of `SECTIONS`.

    Raises:
        ArgumentError: `order` is not a permutation of the three sections.
    """

    task: str = (
        "CLIP classifies images by comparing them with captions. A prompt is a template for such a "
        f"caption, as it might stand under a picture, with {SLOT} exactly once; the name of every "
        f"class is put in the place of {SLOT}. It is no instruction: questions, advice and names "
        "of classes do not help. What counts is how the images look (medium, material, colours, "
        f"lighting, viewpoint) and where {SLOT} stands, which may also be in front or alone."
    )
    scores: str = (
        "The scored history lists earlier prompts. The accuracy, 0 to 100, counts first; between "
        "those that may be equal but for luck the lower loss does."
    )
    goal: str = (
        "Write one prompt that differs from every prompt tried before and has a higher accuracy "
        "and a lower loss than all of them. It should be concise, effective, and apply to all "
        "classes in general."
    )
    facts: str = (
        "The accuracy counts {images} training images; one of them is {points:.2g} points. Some of "
        "the {classes} classes, as an idea of the domain: {names}."
    )
    losers: str = "Tried as well, with less success:"
    order: tuple[str, ...] = SECTIONS

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(SECTIONS):
            raise ArgumentError(
                f"MetaPrompt.order must list each of {', '.join(SECTIONS)} once, "
                f"got {self.order!r}."
            )

    def about(self, images: Count, classnames: Sequence[str]) -> MetaPrompt:
        """Fill the facts: how many images the accuracy stands for, and a few class names.

        Raises:
            ArgumentError: `facts` has other slots than these.
        """
        step = max(1, len(classnames) // CLASSES_NAMED)
        try:
            facts = self.facts.format(
                images=images,
                points=100 / images,
                classes=len(classnames),
                names=", ".join(classnames[::step][:CLASSES_NAMED]),
            )
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ArgumentError(
                "MetaPrompt.facts may have the slots {images}, {points}, {classes} and {names}, "
                f"other braces doubled, got {self.facts!r} ({error})."
            ) from None
        return replace(self, facts=facts)

    def render(
        self,
        *,
        limit: str,
        refusals: Sequence[tuple[str, str]],
        losers: Sequence[str] = (),
        in_percent: bool = True,
    ) -> str:
        """Join the instructions, the length limit, and what was tried and did not help.

        Where accuracies are not `in_percent`, for the metric is not bound to 0 to 1, nothing is
        said of percent.

        What changes from step to step comes last, so that servers may keep what was before it.
        """
        parts = [self.task, self.scores, self.goal, self.facts]
        if not in_percent:
            parts = [self.task, UNBOUNDED_SCORES, self.goal]
        if limit:
            parts.append(limit)
        if losers and self.losers:
            parts.append("\n".join([self.losers, *(f"- {text!r}" for text in losers)]))
        if refusals:
            lines = [f"- {text!r}: {reason}" for text, reason in refusals]
            parts.append("\n".join(["These proposals were refused; avoid their faults:", *lines]))
        return "\n\n".join(part for part in parts if part)

    def signature(self, signature: type[dspy.Signature] = ProposePrompt) -> type[dspy.Signature]:
        """Put the input fields of a proposal signature into this order."""
        fields = signature.fields
        first = [name for name in self.order if name in fields]
        names = [*first, *(name for name in fields if name not in first)]
        return dspy.Signature(
            {name: (fields[name].annotation, fields[name]) for name in names},
            signature.instructions,
        )


UNBOUNDED_SCORES = (
    "The scored history lists earlier prompts. What is called accuracy is 100 times the mean of a "
    "measure that is not bound to 0 to 1; higher is better and counts first, and between equal "
    "ones the lower loss does."
)
"""What scores mean where the metric gives more than 1, or less than 0."""

PAPER_META_PROMPT = MetaPrompt(
    task=f"The task is to classify images by comparing them with texts. {SLOT} stands for the name "
    f"of a class, and every prompt must contain {SLOT} exactly once. The image descriptions "
    "tell what the training images look like.",
    scores="The scored history lists earlier prompts with their scores on the training images. "
    "The loss is 0 or greater, and the accuracy lies between 0 and 100.",
    goal="Write one prompt that differs from every prompt in the history and has a lower loss and "
    "a higher accuracy than all of them. It should be concise, effective, and apply to all "
    "classes in general.",
    facts="",
    losers="",
)
"""The substance of IPO's instructions 1 to 3 (Du et al., NeurIPS 2024, figures 2 to 5)."""

INSTRUCTION_META_PROMPT = MetaPrompt(
    task="The task is to write the instruction that a language model follows in one step of a "
    "program. The image descriptions, where there are any, tell what the inputs look like.",
    scores="The scored history lists earlier instructions with their scores on training examples. "
    "The loss is 0 or greater, and the accuracy lies between 0 and 100.",
    goal="Write one instruction that differs from every instruction in the history and has a lower "
    "loss and a higher accuracy than all of them. It should be concise, effective, and apply to "
    "all examples in general.",
    facts="",
    losers="",
)
"""The meta-prompt for programs of language-model predictors."""


_EXAMPLES_SHOWN = 3
_EXAMPLE_CHARACTERS = 300


def describe_step(
    name: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
) -> str:
    """Say what a step of a program takes and gives, with a few examples of the program.

    Args:
        name: of the step in its program.
        inputs: its input fields by name, as a signature has them.
        outputs: its output fields.
        examples: of the whole program; the first ones are shown, cut where they are long.
    """
    parts = [f"The instruction is for the step {name!r} of the program."]
    for title, fields in (("It is given", inputs), ("It answers with", outputs)):
        lines = [_field_line(field, info) for field, info in fields.items()]
        parts.append("\n".join([f"{title}:", *lines]))
    shown = [_example_line(example) for example in examples[:_EXAMPLES_SHOWN]]
    if shown:
        parts.append(
            "\n".join(["Examples of what the whole program is given and should give:", *shown])
        )
    return "\n\n".join(parts)


def _field_line(name: str, info: Any) -> str:
    kind = getattr(info.annotation, "__name__", str(info.annotation))
    description = description_of(name, info)
    return f"- {name} ({kind})" + (f": {description}" if description else "")


def _example_line(example: Mapping[str, Any]) -> str:
    fields = (f"{name} = {_shortened(value)}" for name, value in example.items())
    return "- " + "; ".join(fields)


def _shortened(value: Any) -> str:
    if isinstance(value, dspy.Image | dspy.Audio | bytes):
        return f"<{type(value).__name__}>"
    text = str(value)
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[:_EXAMPLE_CHARACTERS] + "..."


def token_limit(tokens: int, of_name: int, tokens_per_word: float) -> str:
    """Tell the prompt model how long a prompt may be.

    Args:
        tokens: most tokens beside the longest class name, 0 or more.
        of_name: tokens of that name.
        tokens_per_word: of the encoder's tokenizer.
    """
    words = int(tokens / tokens_per_word)
    characters = int(_CHARACTERS_PER_WORD * tokens / tokens_per_word)
    return (
        f"A prompt may have at most {tokens} tokens besides the class name, of the encoder's own: "
        f"about {words} words or {characters} characters. The name itself has up to {of_name}."
    )


TEMPLATE_RULES = (
    "The text to write is a CLIP prompt template, not an instruction to a language model: one "
    "short phrase that describes how the images look (medium, material, colours, lighting, "
    f"viewpoint), on one line, that keeps the placeholder {SLOT} exactly once. Every class name "
    f"is put in the place of {SLOT}, and an image belongs to the class whose phrase fits it best. "
    "Questions, rules, advice and lists of class names do not help."
)
"""What an optimizer's language model has to know about the text it improves."""

PROPOSE_TEMPLATE = (
    "I classify images with CLIP. You are given the prompt template in use, called the current "
    "instruction, along with examples of images, the classes they were given, and whether those "
    f"were right.\n\n{TEMPLATE_RULES}\n\n"
    "Look at what the images have in common, whatever their class, and write a new template that "
    "describes it better. It has to apply to all classes. Answer with the template alone."
)
"""The task of GEPA's proposer for a predictor whose instructions are a CLIP template."""


def classification_feedback(
    label: Any, predicted: Any, scores: Mapping[str, float], *, of_template: bool
) -> str:
    """Say how a zero-shot prediction went, and where a template is optimised, what that is.

    Args:
        label: what the image shows.
        predicted: what was predicted.
        scores: probabilities of the best classes.
        of_template: whether a template is optimised.
    """
    verdict = (
        f"Right: {label!r}."
        if predicted == label
        else f"Wrong: predicted {predicted!r}, but the image shows {label!r}."
    )
    seen = ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
    parts = [verdict]
    if seen:
        parts.append(f"Best classes: {seen}.")
    if of_template:
        parts.append(TEMPLATE_RULES)
    return " ".join(parts)
