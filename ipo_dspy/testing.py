"""Fakes whose right answers are known, and contract checks for what is made elsewhere."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy
import PIL.Image

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.exports.base import Exporter, Found
from ipo_dspy.features.backends import Backend
from ipo_dspy.images import labeled_image
from ipo_dspy.programs.prompt import LearnedPrompt, Prompt, load_learned
from ipo_dspy.programs.tensor_file import tensors_as_text, tensors_of
from ipo_dspy.prompts.rules import InstructionRules
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import MetaPrompt
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.records import Score, Trial
from ipo_dspy.runs.budget import Budget
from ipo_dspy.search.engine import Search, Settings
from ipo_dspy.search.strategies import Strategy
from ipo_dspy.search.target import Target
from ipo_dspy.upstream.dspy_parts import COMPLETED, SECTION

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.features.embedder import Embedder

COLOURS = {
    "red": (230, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 230),
    "yellow": (220, 220, 20),
    "white": (240, 240, 240),
    "black": (10, 10, 10),
}
"""The classes of `ColourEncoder`: plain pictures of one colour."""


class ColourEncoder:
    """A dual encoder of colours with just the members of the protocol.

    A picture's feature tells its colour. A text's feature tells the colour it names, mixed with
    the next colour of `COLOURS` unless it holds the good words: each of them takes the mixture
    half-way back. So a template is the better the more good words it has, and with all of them
    every picture is classified rightly.

    Args:
        good_words: the words that help.
        context_length: most tokens of a text; a token is a word, and two more mark start and end.
    """

    def __init__(
        self, good_words: Sequence[str] = ("crisp", "flat"), context_length: int = 16
    ) -> None:
        self.good_words = tuple(good_words)
        self.spec = f"colours:{','.join(self.good_words)}"
        self.context_length = context_length
        self.texts_encoded = 0

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        """Encode RGB images: [N, 6] unit length."""
        import torch

        centres = torch.tensor(list(COLOURS.values()), dtype=torch.float32)
        pixels = torch.tensor([image.resize((1, 1)).getpixel((0, 0)) for image in images]).float()
        features = torch.exp(-torch.cdist(pixels, centres) / 60.0)
        return torch.nn.functional.normalize(features, dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts: [T, 6] unit length."""
        import torch

        self.texts_encoded += len(texts)
        return torch.nn.functional.normalize(torch.stack([self._text(t) for t in texts]), dim=-1)

    def _text(self, text: str) -> Tensor:
        import torch

        words = set("".join(c if c.isalnum() else " " for c in text.lower()).split())
        doubt = 0.6 * 0.5 ** len(words & set(self.good_words))
        feature = torch.full((len(COLOURS),), 0.1)
        for index, colour in enumerate(COLOURS):
            if colour in words:
                feature[index] += 1.0 - doubt
                feature[(index + 1) % len(COLOURS)] += doubt
        return feature

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count words, and two more for start and end."""
        return [len(text.split()) + 2 for text in texts]

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Ten times the cosine: [N, C]."""
        return 10.0 * image_features @ text_features.T


def colour_examples(per_colour: int = 1, size: int = 8) -> list[dspy.Example]:
    """Labelled pictures of `COLOURS`, `per_colour` of each in slightly different shades."""
    return [
        labeled_image(dspy.Image(_plain(colour, shade, size)), name)
        for name, colour in COLOURS.items()
        for shade in range(per_colour)
    ]


def _plain(colour: tuple[int, int, int], shade: int, size: int) -> PIL.Image.Image:
    red, green, blue = (min(255, channel + 3 * shade) for channel in colour)
    return PIL.Image.new("RGB", (size, size), (red, green, blue))


class ScriptedEngine:
    """An engine for `dspy.LM(engine=...)` whose answers are given in advance.

    Args:
        answer: maps the number of a call, from 0, and its request text to the value of the answer
            field, or raises what the call shall raise.
        field: the output field that is answered; None sends the answer bare.
    """

    supported_params = ("temperature", "max_tokens")

    def __init__(self, answer: Callable[[int, str], str], field: str | None = "prompt") -> None:
        self.requests: list[str] = []
        self._answer = answer
        self._field = field
        self._lock = threading.Lock()

    def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
        """Answer one request."""
        from dspy.lm15 import Message, Response, Usage

        said = [request.system or "", *(message.text or "" for message in request.messages)]
        text = "\n".join(map(str, said))
        with self._lock:
            number = len(self.requests)
            self.requests.append(text)
        answer = self._answer(number, text)
        if self._field is not None:
            answer = f"{SECTION}{self._field} ## ]]\n{answer}\n\n{COMPLETED}"
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(answer),
            finish_reason="stop",
            usage=Usage(input_tokens=100, output_tokens=10, total_tokens=110),
        )

    def stream(self, request: dspy.lm15.Request) -> Iterator[object]:
        """Answer one request as a stream of one piece."""
        from dspy.lm15 import response_to_events

        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing is held."""


def scripted_lm(
    answers: Sequence[str] | Callable[[int, str], str], field: str | None = "prompt"
) -> dspy.LM:
    """A language model that gives these answers one after the other, then begins again.

    The engine is at `lm.engine`; its `requests` are what was asked.
    """
    if callable(answers):
        engine = ScriptedEngine(answers, field)
        # What is asked again would shift the script.
        return dspy.LM("scripted/model", engine=engine, cache=False, num_retries=0)
    listed = list(answers)
    return scripted_lm(lambda number, request: listed[number % len(listed)], field)


_CLOSE = 1e-4
_LOGITS_CLOSE = 1e-2


def check_encoder(
    encoder: Encoder, images: Sequence[PIL.Image.Image], texts: Sequence[str]
) -> None:
    """Check that an encoder keeps the protocol's promises.

    Args:
        encoder: the encoder.
        images: at least two different RGB images.
        texts: at least two different texts.

    Raises:
        AssertionError: a promise is broken; the message names it.
    """
    import torch

    image_features = encoder.encode_images(images)
    text_features = encoder.encode_texts(texts)
    for name, features, count in (
        ("encode_images", image_features, len(images)),
        ("encode_texts", text_features, len(texts)),
    ):
        _check(features.shape[0] == count and features.ndim == 2, f"{name} gives [N, D]")
        _check(features.dtype == torch.float32, f"{name} gives float32")
        lengths = features.norm(dim=-1)
        _check(bool((lengths - 1).abs().max() < _CLOSE), f"{name} gives unit length")
    _check(image_features.shape[1] == text_features.shape[1], "both share one space")
    again = (encoder.encode_images(images), encoder.encode_texts(texts))
    _check(torch.equal(image_features, again[0]), "encoding images is deterministic")
    _check(torch.equal(text_features, again[1]), "encoding texts is deterministic")
    alone = torch.cat([encoder.encode_images([image]) for image in images])
    _check(
        bool((image_features - alone).abs().max() < _CLOSE),
        "an image alone gets the features that it gets in a batch",
    )
    _check(
        encoder.logits(image_features, text_features).shape == (len(images), len(texts)),
        "logits gives [N, C]",
    )
    long_text = " ".join(["word"] * (encoder.context_length + 10))
    _check(
        encoder.count_tokens([long_text])[0] > encoder.context_length,
        "count_tokens never truncates",
    )
    _check(isinstance(encoder.spec, str) and bool(encoder.spec), "spec is a text")


def _check(kept: bool, promise: str, what: str = "encoder") -> None:
    if not kept:
        raise AssertionError(f"The {what} breaks a promise: {promise}.")


def check_strategy(
    make: Callable[[], Strategy], *, steps: int = 4, prompts_per_step: int = 3
) -> None:
    """Check that a strategy keeps the promises of its seam, by searches with known answers.

    Each answer is made of the number of its call alone, so that searches can be compared.

    Args:
        make: makes a new strategy, always the same.
        steps: steps of the searches.
        prompts_per_step: most questions out at once.

    Raises:
        AssertionError: a promise is broken; the message names it.
    """
    strategy = "strategy"
    whole = _strategy_run(make(), [], steps, prompts_per_step)
    made = [trial for trial in whole.trials if trial.step > 0]
    _check(bool(made), "it asks for something before it ends", strategy)
    _check(max(trial.step for trial in made) <= steps, "it ends after the steps allowed", strategy)
    again = _strategy_run(make(), [], steps, prompts_per_step)
    _check(whole.trials == again.trials, "equal searches try the same", strategy)
    for cut in range(len(whole.events) + 1):
        resumed = _strategy_run(make(), whole.events[:cut], steps, prompts_per_step)
        _check(
            resumed.trials == whole.trials,
            f"a search that was stopped after {cut} events ends as if it never had been",
            strategy,
        )


def check_backend(backend: Backend, folder: Path) -> None:
    """Check that a backend keeps the promises of its protocol, with pictures that it draws.

    Args:
        backend: the backend.
        folder: for the pictures; a backend on other machines must see it too.

    Raises:
        AssertionError: a promise is broken; the message names it.
    """
    import torch

    from ipo_dspy.encoders import load_encoder
    from ipo_dspy.features.backends import EmbeddingJob
    from ipo_dspy.images.image import ImageFile

    encoder = load_encoder("demo", device="cpu", precision="float32")
    folder.mkdir(parents=True, exist_ok=True)
    images = [ImageFile(folder / f"{number}.png") for number in range(7)]
    for number, image in enumerate(images):
        _plain((20 * number, 100, 200 - 20 * number), 0, 16).save(image.path)
    bad = 4
    images[bad].path.write_bytes(b"no picture")
    job = EmbeddingJob(encoder, images, shard_size=3)
    for _ in range(2):
        shards = list(backend.run(job))
        given = [n for shard in shards for n in (*shard.numbers, *shard.errors)]
        _check(sorted(given) == list(range(len(images))), "each image comes once", "backend")
        most = max(len(shard.numbers) + len(shard.errors) for shard in shards)
        _check(most <= job.shard_size, "no shard is larger than asked for", "backend")
        errors = {n: text for shard in shards for n, text in shard.errors.items()}
        _check(
            list(errors) == [bad] and images[bad].path.name in errors[bad],
            "what cannot be read is an error that names the image, and costs itself alone",
            "backend",
        )
        for shard in shards:
            alone = [encoder.encode_images([PIL.Image.open(images[n].path)]) for n in shard.numbers]
            _check(
                not alone or torch.allclose(shard.features, torch.cat(alone), atol=_CLOSE),
                "features are those of the encoder, in the order of the numbers",
                "backend",
            )
            _check(
                shard.features.dtype == torch.float32 and shard.features.device.type == "cpu",
                "features are float32 on the CPU",
                "backend",
            )
    empty = list(backend.run(EmbeddingJob(encoder, [], shard_size=3)))
    _check(not empty, "a job without images gives no shard", "backend")


def check_exporter(exporter: Exporter, found: Found, folder: Path) -> None:
    """Check that an exporter keeps the promises of its seam.

    Args:
        exporter: what is checked.
        found: something that its format can carry.
        folder: an empty folder to write to.

    Raises:
        AssertionError: a promise is broken; the message names it.
    """
    kind = "exporter"
    suffix = exporter.suffix
    named = not suffix or (suffix.startswith(".") and "/" not in suffix)
    _check(named, "its suffix is one of a file, or empty", kind)
    state = repr(found.program.dump_state())
    first, second = (folder / f"{name} ü{suffix}" for name in ("one", "two"))
    exporter.write(first, found)
    _check(first.is_file() if suffix else first.is_dir(), "it writes the path it is given", kind)
    exporter.write(second, found)
    _check(_content(first) == _content(second), "equal files for equal finds", kind)
    if suffix:
        second.write_bytes(b"older")
    else:
        (second / "of another.txt").write_text("stays")
    exporter.write(second, found)
    written = _content(second)
    stays = suffix != "" or written.pop("of another.txt", None) == b"stays"
    _check(stays, "other files of a folder stay", kind)
    _check(_content(first) == written, "it replaces what is there", kind)
    _check(repr(found.program.dump_state()) == state, "it leaves the program as it is", kind)


def _content(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of each file of a folder by name."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


class _Events:
    """Keeps events in memory, as a journal does on disk."""

    resume_hint = ""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.events = list(events)
        self.kept = list(events)

    def append(self, event: Mapping[str, Any]) -> None:
        self.kept.append(dict(event))


class _LengthScorer:
    """Scores a text by a hash of it."""

    at_once = True

    def score(self, texts: Sequence[str]) -> list[Score]:
        return [Score(accuracy=zlib.crc32(text.encode()) % 101, loss=1.0, n=1) for text in texts]


class _NumberedAnswers(dspy.Module):
    """Answers each question with the number of its call."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        number = dspy.settings.lm.kwargs["rollout_id"]
        return dspy.Prediction(prompt=f"text {number} of a <CLASS>")


class _StrategyRun(NamedTuple):
    trials: list[Trial]
    events: list[dict[str, Any]]


def _strategy_run(
    strategy: Strategy, events: Sequence[dict[str, Any]], steps: int, prompts_per_step: int
) -> _StrategyRun:
    log = _Events(events)
    targets = [
        Target(name, dspy.Predict("a -> b"), InstructionRules(), MetaPrompt(), _LengthScorer())
        for name in ("first", "second")
    ]
    for target in targets:
        target.use("a photo of a <CLASS>.")
    search = Search(
        targets,
        PromptModel(scripted_lm(["unused"]), _NumberedAnswers(), temperature=1.0, seed=0),
        strategy,
        # One call at a time, so that answers arrive in the order of the questions.
        Settings([], prompts_per_step, 20, 1, Budget(steps=steps), 10**6),
        log,
        lambda trial, spent: None,
    )
    search.run()
    return _StrategyRun(search.trials, log.kept)


def check_prompt(
    prompt: Prompt,
    embedder: Embedder,
    classnames: Sequence[str],
    images: Sequence[PIL.Image.Image],
) -> None:
    """Check that a prompt keeps the protocol's promises.

    Args:
        prompt: a text, or what an optimizer learned; then its file form is checked too.
        embedder: an encoder that the prompt works with.
        classnames: at least two names that it works with.
        images: at least two different RGB images.

    Raises:
        AssertionError: a promise is broken; the message names it.
    """
    import torch

    features = prompt.image_features(embedder, images)
    logits = prompt.logits(embedder, features, classnames)
    for name, found, count in (
        ("class_features", prompt.class_features(embedder, classnames), len(classnames)),
        ("image_features", features, len(images)),
    ):
        _check(found.ndim == 2 and len(found) == count, f"{name} gives a row for each", "prompt")
        _check(found.device.type == "cpu", f"{name} are on the CPU", "prompt")
        lengths = found.norm(dim=-1)
        _check(bool((lengths - 1).abs().max() < _CLOSE), f"{name} have unit length", "prompt")
    _check(logits.shape == (len(images), len(classnames)), "logits gives [N, C]", "prompt")
    again = prompt.logits(embedder, prompt.image_features(embedder, images), classnames)
    _check(torch.equal(logits, again), "the same images get the same logits again", "prompt")
    alone = torch.cat(
        [
            prompt.logits(embedder, prompt.image_features(embedder, [image]), classnames)
            for image in images
        ]
    )
    _check(
        bool((logits - alone).abs().max() < _LOGITS_CLOSE),
        "an image alone gets the logits that it gets beside others",
        "prompt",
    )
    if not hasattr(prompt, "dump_state"):
        return
    learned: LearnedPrompt = prompt  # type: ignore[assignment]
    state = json.loads(json.dumps(learned.dump_state()))
    loaded = load_learned(state, tensors_of(tensors_as_text(learned.tensors)))
    found = loaded.logits(embedder, loaded.image_features(embedder, images), classnames)
    _check(torch.equal(logits, found), "what is saved and loaded gives the same", "prompt")
    _check(learned.around(learned.text).text == learned.text, "around keeps a text", "prompt")
    other = Template("something like <CLASS>")
    _check(learned.around(other).text == other, "around takes another text", "prompt")
