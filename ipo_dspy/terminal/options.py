"""The options that several commands share, with their help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter, Token

from ipo_dspy.proposing.models import Connection

IMAGES = Group("Images", sort_key=1)
MODELS = Group("Models", sort_key=2)
SEARCH = Group("Search", sort_key=3)
BOUNDS = Group("Bounds: the search ends at the first one reached", sort_key=4)

DEFAULT_STEPS = 30
PAPER_STEPS = 100
PAPER_SHOTS = 1

LOCAL = "local"
"""The backend that embeds in this process."""
Flag: TypeAlias = Annotated[bool, Parameter(negative="", show_default=False)]
"""An option without a value."""


_WHOLE = re.compile("[+-]?[0-9]{1,1000}")


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts would cut a fraction."""
    [token] = tokens
    if not _WHOLE.fullmatch(token.value):
        raise ValueError(f"{token.value!r} is no whole number, such as 3")
    return int(token.value)


Whole: TypeAlias = Annotated[int, Parameter(converter=_whole)]
"""An option of a whole number."""
WholeOrNone: TypeAlias = Annotated[int | None, Parameter(converter=_whole)]
"""An option of a whole number that may be left out."""
Texts: TypeAlias = Annotated[
    tuple[str, ...], Parameter(negative="", show_default=False, json_list=False)
]
"""An option that may be given several times."""
Paths: TypeAlias = Annotated[
    tuple[Path, ...], Parameter(negative="", show_default=False, json_list=False)
]
"""An option of paths that may be given several times."""


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True)
class ReadingOptions:
    """How images are read.

    Attributes:
        class_names: file of what CLIP is to read for every class: a line each with the name of its
            folder (in a table, its label), a tab, and the text; without tabs, the first blank
            divides. Or a .json object of the same.
        skip_bad_images: go on without images that cannot be read.
    """

    class_names: Path | None = None
    skip_bad_images: Flag = False


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True)
class SamplingOptions:
    """Which images the search sees, and which are kept for the final figures.

    Attributes:
        shots: images of each class to search on; by default up to 16, and 1 in the demo.
        hold_out: share of each class that is kept for the final figures; the search never sees
            it.
        novel: search on the first half of the classes (base) and test on both halves.
        seed: of the draw of the images and of the proposals.
    """

    shots: WholeOrNone = None
    hold_out: float = 0.3
    novel: Flag = False
    seed: Whole = 0


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True)
class UnseenOptions:
    """Images that are kept for the final figures by whoever took them.

    Attributes:
        test: labelled images of your own for the final figures, as a folder or table like the
            first; all of the first are then searched on, and --hold-out does nothing.
    """

    test: Path | None = None


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True)
class SavedEncoderOptions:
    """The dual encoder, where a saved program may name it.

    Attributes:
        clip: 'demo', or a real one such as 'open_clip:ViT-B-16-quickgelu/openai' or
            'hf:google/siglip2-base-patch16-224'; by default that of the saved program, else
            'demo'.
        device: 'cuda', 'mps' or 'cpu'; by default the best there is.
        precision: 'float32', 'bfloat16' or 'float16'; by default bfloat16 on CUDA, else float32.
        trust_remote_code: run code that comes with the encoder.
        backend: who embeds images: 'local' (this process), 'ray' (pip install 'ipo-dspy[ray]'), or
            what an installed plug-in registers.
        address: of a Ray cluster, such as 10.0.0.1:6379; by default one starts on this machine.
    """

    clip: str | None = None
    device: str | None = None
    precision: str | None = None
    trust_remote_code: Flag = False
    backend: str = LOCAL
    address: str | None = None


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True)
class EncoderOptions:
    """The dual encoder.

    Attributes:
        clip: 'demo', or a real one such as 'open_clip:ViT-B-16-quickgelu/openai' or
            'hf:google/siglip2-base-patch16-224'.
        device: 'cuda', 'mps' or 'cpu'; by default the best there is.
        precision: 'float32', 'bfloat16' or 'float16'; by default bfloat16 on CUDA, else float32.
        backend: who embeds images: 'local' (this process), 'ray' (pip install 'ipo-dspy[ray]'), or
            what an installed plug-in registers.
        address: of a Ray cluster, such as 10.0.0.1:6379; by default one starts on this machine.
    """

    clip: str = "demo"
    device: str | None = None
    precision: str | None = None
    backend: str = LOCAL
    address: str | None = None

    @property
    def decisive(self) -> dict[str, str | None]:
        """What decides features: who embeds does not."""
        return {"clip": self.clip, "device": self.device, "precision": self.precision}


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True)
class DescribingOptions:
    """What describes the images, and how models are reached.

    Attributes:
        image_model: what describes the training images: 'vocabulary' (the encoder ranks visual
            words), a vision model as for --prompt-model, 'file:PATH' with a description a line,
            or 'none'.
        trust_remote_code: run code that comes with the encoder or with 'hf:' models.
        api_base: address of an OpenAI-compatible server, such as http://localhost:8000/v1.
        timeout: seconds to wait for one answer of a model that is reached over the network.
        num_threads: most calls of a model at the same time.
    """

    image_model: str = "vocabulary"
    trust_remote_code: Flag = False
    api_base: str | None = None
    timeout: float = Connection.timeout
    num_threads: Whole = 8


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True)
class ProposingOptions:
    """What proposes prompts.

    Attributes:
        prompt_model: 'offline' (no language model; edits the prompts it is shown), 'hf:NAME' for
            open weights, or any model of DSPy such as 'openai/gpt-4o-mini'.
        temperature: of the proposals; left out for models that refuse it.
        no_seed: send no seeds to the prompt model.
    """

    prompt_model: str = "offline"
    temperature: float = 1.0
    no_seed: Flag = False


@Parameter(name="*", group=SEARCH)
@dataclass(frozen=True)
class SearchOptions:
    """How the search goes on.

    Attributes:
        preset: 'paper' stands for the paper's --shots 1 --novel --steps 100, one first prompt, and
            its order of prompts; its other settings are the defaults.
        steps: steps of the search; by default 30, and 100 with --preset paper.
        prompts_per_step: proposals of a step, each a call of its own.
        history_size: how many scored prompts the prompt model is shown.
        initial: the prompt to begin with, by default `a photo of a <CLASS>.`; a few of other
            structure are tried beside it. Given several times, the search begins with these and no
            others.
        ensemble: how many of the best prompts make a program of their own beside the one found.
        class_texts: most texts that describe each class, in a program of their own beside the one
            found; asked for by one call for each class, the most confused ones first.
        strategy: what is tried next: 'steps', the paper's; 'evolve', which mixes in edits of the
            best prompts, takes no more calls and goes on alone where a model's answers are no
            use; 'steady'; 'random', a control without a model.
        steady: keep calls in flight all the time rather than step by step; --strategy steady.
    """

    preset: Literal["paper"] | None = None
    steps: WholeOrNone = None
    prompts_per_step: Whole = 5
    history_size: Whole = 20
    initial: Texts = ("a photo of a <CLASS>.",)
    ensemble: Whole = 5
    class_texts: Whole = 0
    strategy: str | None = None
    steady: Flag = False


@Parameter(name="*", group=BOUNDS)
@dataclass(frozen=True)
class BoundOptions:
    """When to end early.

    Attributes:
        max_calls: most calls of the prompt model.
        max_tokens: most tokens sent and received.
        max_dollars: most dollars, where the price is known.
        max_seconds: most seconds of this process.
        patience: most steps in a row without a better prompt.
    """

    max_calls: WholeOrNone = None
    max_tokens: WholeOrNone = None
    max_dollars: float | None = None
    max_seconds: float | None = None
    patience: WholeOrNone = None


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Everything that a search is made of."""

    reading: ReadingOptions = ReadingOptions()
    sampling: SamplingOptions = SamplingOptions()
    unseen: UnseenOptions = UnseenOptions()
    encoder: EncoderOptions = EncoderOptions()
    proposing: ProposingOptions = ProposingOptions()
    describing: DescribingOptions = DescribingOptions()
    search: SearchOptions = SearchOptions()
    bounds: BoundOptions = BoundOptions()

    @property
    def steps(self) -> int:
        """Steps of the search."""
        if self.search.steps is not None:
            return self.search.steps
        return PAPER_STEPS if self.search.preset == "paper" else DEFAULT_STEPS

    @property
    def drawing(self) -> SamplingOptions:
        """Which images the search sees: what the user gave, or else what the preset says."""
        if self.search.preset != "paper":
            return self.sampling
        shots = PAPER_SHOTS if self.sampling.shots is None else self.sampling.shots
        return replace(self.sampling, shots=shots, novel=True)
