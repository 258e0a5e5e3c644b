"""Wrong calls of everything public: one sentence of the error tree, which names the argument."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
import torch

import ipo_dspy
from ipo_dspy import (
    BatchEvaluate,
    Budget,
    CLIPClassifier,
    CLIPPredict,
    CoOp,
    CoPrompt,
    DemoCache,
    DescribePredict,
    FileDescriber,
    ImageVectorizer,
    IPOError,
    IPOOptimizer,
    LabeledImages,
    LiveReport,
    LMDescriber,
    MaPLe,
    MetaPrompt,
    PromptSRC,
    Proposer,
    Score,
    ScoredPrompt,
    Template,
    TemplateProposer,
    TipAdapter,
    Trial,
    VocabularyDescriber,
    clip_acc,
    find_images,
    label_images,
    load_encoder,
    offline_lm,
    prompt_ensemble,
    read_dataset,
    read_folder,
    read_table,
    write_labels,
    write_report,
)
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, Share, checked, described
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

NAMES = tuple(COLOURS)


def program() -> CLIPClassifier:
    return CLIPClassifier(NAMES, ColourEncoder())


def compiled(**arguments: Any) -> Any:
    optimizer = IPOOptimizer(prompt_model=scripted_lm(["a <CLASS>"]), describer="none", steps=1)
    return optimizer.compile(**{"student": program(), "trainset": colour_examples()} | arguments)


def compiled_with(**arguments: Any) -> Any:
    chosen = {"prompt_model": scripted_lm(["a <CLASS>"]), "describer": "none", "steps": 1}
    return IPOOptimizer(**chosen | arguments).compile(program(), trainset=colour_examples())


WRONG: list[tuple[str, Callable[[], Any]]] = [
    # fractions, texts, truths and nothings where whole numbers are meant
    *[
        (name, lambda name=name, value=value: IPOOptimizer(**{name: value}))
        for name in (
            "steps",
            "prompts_per_step",
            "history_size",
            "images_described",
            "ensemble",
            "most_failures",
            "num_threads",
            "max_errors",
            "seed",
        )
        for value in (2.5, "3", True, [1], float("nan"))
    ],
    *[
        (name, lambda name=name: IPOOptimizer(**{name: -1}))
        for name in ("steps", "prompts_per_step", "history_size", "temperature", "num_threads")
    ],
    *[
        (name, lambda name=name, value=value: CoOp(**{name: value}))
        for name in ("epochs", "batch_size", "n_ctx", "lr")
        for value in (0, -1, "2", None if name != "n_ctx" else "x")
    ],
    *[
        (name, lambda name=name, value=value: Budget(**{name: value}))
        for name in ("steps", "calls", "tokens", "dollars", "seconds", "patience")
        for value in (-1, "5", True)
    ],
    ("budget", lambda: IPOOptimizer(budget=100)),
    ("budget", lambda: CoOp(budget=100)),
    ("metric", lambda: IPOOptimizer("accuracy")),
    ("metric", lambda: IPOOptimizer(None)),
    ("prompt_model", lambda: IPOOptimizer(prompt_model=3)),
    ("describer", lambda: IPOOptimizer(describer=3)),
    ("strategy", lambda: IPOOptimizer(strategy=3)),
    ("proposer", lambda: IPOOptimizer(proposer="x")),
    ("meta_prompt", lambda: IPOOptimizer(meta_prompt="x")),
    ("callbacks", lambda: IPOOptimizer(callbacks="x")),
    ("on_trial", lambda: IPOOptimizer(on_trial="x")),
    ("run_dir", lambda: IPOOptimizer(run_dir=3)),
    ("steady", lambda: IPOOptimizer(steady="yes")),
    ("initial", lambda: IPOOptimizer(initial=3)),
    ("preset", lambda: IPOOptimizer(preset="papper")),
    ("stepz", lambda: IPOOptimizer(stepz=3)),
    ("epoch", lambda: CoOp(epoch=3)),
    ("position", lambda: CoOp(position="start")),
    ("depth", lambda: MaPLe(depth=0)),
    ("average", lambda: PromptSRC(average=3)),
    ("teacher_templates", lambda: PromptSRC(teacher_templates="a photo of a <CLASS>")),
    *[
        (name, lambda name=name: IPOOptimizer(**{name: 1}))
        for name in ("breadth", "depth", "auto", "max_bootstrapped_demos", "max_labeled_demos")
    ],
    *[
        (name, lambda name=name: compiled(**{name: 1}))
        for name in ("eval_kwargs", "num_trials", "minibatch", "requires_permission_to_run")
    ],
    ("student", lambda: compiled(student="x")),
    ("student", lambda: compiled(student=None)),
    ("trainset", lambda: compiled(trainset="x")),
    ("trainset", lambda: compiled(trainset=[1])),
    ("trainset", lambda: compiled(trainset={1: 2})),
    ("valset", lambda: compiled(valset=5)),
    ("name", lambda: IPOOptimizer().compile(program(), colour_examples())),
    ("lass name", lambda: compiled(student=CLIPClassifier(["red"], ColourEncoder()))),
    # classes
    ("classnames", lambda: CLIPClassifier()),
    ("classnames", lambda: CLIPClassifier({"a", "b"})),
    ("classnames", lambda: CLIPClassifier("cat")),
    ("classnames", lambda: CLIPClassifier({"a": 1})),
    ("classnames", lambda: CLIPClassifier(5)),
    ("classnames", lambda: CLIPClassifier(["a", 1])),
    ("classnames", lambda: CLIPClassifier(x for x in "ab")),
    ("classnames", lambda: program().for_classes({"a", "b"})),
    ("lass name", lambda: CLIPClassifier(["a", "a"])),
    ("lass name", lambda: CLIPClassifier(["a", ""])),
    ("lass name", lambda: CLIPClassifier([])),
    ("lass name", lambda: CLIPClassifier(["a"], ColourEncoder())(image="x.png")),
    ("clip", lambda: CLIPClassifier(["a", "b"], clip=3)),
    ("clip", lambda: CLIPPredict(["a", "b"], clip=None)),
    ("template", lambda: CLIPClassifier(["a", "b"], template=3)),
    ("<CLASS>", lambda: CLIPClassifier(["a", "b"], ColourEncoder(), "no slot")),
    *[
        ("top_k", lambda value=value: CLIPClassifier(["a", "b"], top_k=value))
        for value in (0, -1, 1.5, "3", True)
    ],
    ("demo_cache", lambda: CLIPClassifier(["a", "b"], demo_cache=True)),
    ("templates", lambda: CLIPClassifier(["a", "b"], templates="a <CLASS>")),
    ("shots", lambda: CLIPClassifier.from_folder("x", shots=2.5)),
    ("shots", lambda: CLIPClassifier.from_folder("x", shots=0)),
    ("path", lambda: CLIPClassifier.from_folder(5)),
    ("path", lambda: CLIPClassifier.from_file(None)),
    ("images", lambda: CLIPClassifier.from_images([1])),
    ("path", lambda: program().save(5)),
    ("image", lambda: program()(image=5)),
    ("image", lambda: program()()),
    ("picture", lambda: program()(picture="x.png")),
    ("images", lambda: program().predict.predict_batch("x.png")),
    # what goes with them
    ("weight", lambda: TipAdapter(weight="1")),
    ("weight", lambda: TipAdapter(weight=float("nan"))),
    ("weight", lambda: DemoCache(-1)),
    ("embedder", lambda: ImageVectorizer("demo")),
    ("text", lambda: Template(None)),
    ("text", lambda: Template(["a <CLASS>"])),
    ("task", lambda: MetaPrompt(task=3)),
    ("order", lambda: MetaPrompt(order="scored_history")),
    ("signature", lambda: Proposer(3)),
    ("program", lambda: TemplateProposer(3)),
    ("path", lambda: FileDescriber(3)),
    ("lm", lambda: LMDescriber("gpt")),
    ("num_threads", lambda: LMDescriber(offline_lm(), num_threads=0)),
    ("words", lambda: VocabularyDescriber(program().embedder, words=0)),
    ("embedder", lambda: VocabularyDescriber("demo")),
    ("examples", lambda: LabeledImages([1], ["a"])),
    ("classnames", lambda: LabeledImages((), "ab")),
    ("shots", lambda: LabeledImages((), NAMES).few_shot(2.5, 0)),
    ("fraction", lambda: LabeledImages((), NAMES).split("half", 0)),
    ("path", lambda: read_folder(3)),
    ("skip_bad_images", lambda: read_folder("x", skip_bad_images="yes")),
    ("names", lambda: read_folder("x", names=3)),
    ("label", lambda: read_table("x.csv", label=3)),
    ("image", lambda: read_dataset([], image=3)),
    ("device", lambda: load_encoder("demo", device=3)),
    ("spec", lambda: load_encoder(None)),
    ("program", lambda: label_images("x", [])),
    ("images", lambda: label_images(program(), "x")),
    ("top_k", lambda: label_images(program(), [], top_k=0)),
    ("threshold", lambda: label_images(program(), [], threshold=2)),
    ("labels", lambda: write_labels(5, "x.csv")),
    ("path", lambda: write_labels([], 5)),
    ("sources", lambda: find_images(5)),
    ("programs", lambda: prompt_ensemble(program())),
    ("programs", lambda: prompt_ensemble([1])),
    ("anything", lambda: offline_lm(anything=1)),
    ("program", lambda: write_report("x", "r.html")),
    ("path", lambda: write_report(program(), 5)),
    ("tests", lambda: write_report(program(), "r.html", "x")),
    ("steps", lambda: LiveReport("r.html", steps=0)),
    ("devset", lambda: BatchEvaluate(devset=3)),
    ("devset", lambda: BatchEvaluate(devset=[1])),
    ("devset", lambda: BatchEvaluate()),
    ("num_threads", lambda: BatchEvaluate(devset=colour_examples(), num_threads=2.5)),
    ("example", lambda: clip_acc(1, 2)),
    ("example", lambda: clip_acc()),
    ("accuracy", lambda: Score(accuracy="x", loss=1.0, n=1)),
    ("n", lambda: Score(accuracy=1.0, loss=1.0)),
    ("prompt", lambda: ScoredPrompt(prompt=1, loss=1.0, accuracy=1.0)),
    ("state", lambda: Trial(step=1, slot=0, text="a", state="good")),
    # infinities, sizes beyond reason, and arrays
    *[
        (name, lambda make=make, name=name: make(**{name: float("inf")}))
        for make, name in (
            (IPOOptimizer, "temperature"),
            (CoOp, "lr"),
            (CoPrompt, "weight"),
            (TipAdapter, "sharpness"),
        )
    ],
    ("weight", lambda: CoPrompt(weight=-1)),
    *[
        (name, lambda make=make, name=name: make(**{name: 10**30}))
        for make, name in (
            (IPOOptimizer, "prompts_per_step"),
            (IPOOptimizer, "class_texts"),
            (CoOp, "n_ctx"),
            (DescribePredict, "count"),
        )
    ],
    *[
        ("dollars", lambda value=value: Budget(dollars=value))
        for value in (np.array([1, 2]), np.array([]), int)
    ],
    *[
        ("trainset", lambda value=value: compiled(trainset=value))
        for value in (np.array([1, 2]), np.array(3), np.array([]), colour_examples()[0])
    ],
    ("devset", lambda: BatchEvaluate(devset=colour_examples())(program(), clip_acc, np.array([1]))),
    ("images", lambda: program().predict_batch(np.zeros((2, 3)))),
    ("image_features", lambda: program().predict.logits(torch.zeros(3), Template("a <CLASS>"))),
    ("image_features", lambda: load_encoder("demo").logits(torch.zeros(1, 3), torch.zeros(1, 4))),
    ("images", lambda: load_encoder("demo").encode_images("x.png")),
    ("texts", lambda: load_encoder("demo").encode_texts("x")),
    # paths that are none
    *[
        ("path", lambda path=path: CLIPClassifier.from_file(path))
        for path in ("", "a\0.json", "\ud800.json")
    ],
    ("run_dir", lambda: IPOOptimizer(run_dir="")),
    ("path", lambda: program().save("")),
    ("path", lambda: program().save("program.yaml")),
    ("path", lambda: program().save("program.json", save_program=True)),
    ("path", lambda: program().load("program.yaml")),
    # functions that cannot be called as they will be, and what lists and dictionaries hold
    ("metric", lambda: IPOOptimizer(lambda: 1.0)),
    ("metric", lambda: BatchEvaluate(devset=colour_examples(), metric=lambda example: 1.0)),
    ("metric", lambda: BatchEvaluate(devset=colour_examples())(program())),
    ("on_trial", lambda: IPOOptimizer(on_trial=lambda trial: None)),
    ("on_epoch", lambda: CoOp(on_epoch=lambda: None)),
    ("callbacks", lambda: IPOOptimizer(callbacks=["wandb"])),
    ("callbacks", lambda: CoOp(callbacks=[print])),
    ("sentences", lambda: CoPrompt(sentences={"red": "a red one"})),
    ("sentences", lambda: CoPrompt(sentences={"red": ["red"]}, describer="none")),
    ("settings", lambda: LiveReport("r.html", settings={"steps": 3})),
    ("class_texts", lambda: CLIPClassifier(["a", "b"], class_texts={"a": 1})),
    ("teacher_templates", lambda: PromptSRC(teacher_templates=[])),
    ("signature", lambda: DescribePredict(signature=int)),
    ("signature", lambda: CLIPPredict(["a", "b"], signature="label")),
    ("init", lambda: CoOp(init="  ")),
    ("strateg", lambda: IPOOptimizer(strategy="")),
    ("model", lambda: compiled_with(prompt_model="")),
    ("prompt", lambda: compiled_with(proposer=dspy.Predict("question -> answer"))),
    ("facts", lambda: IPOOptimizer(meta_prompt=MetaPrompt(facts="{image} images"))),
    ("images", lambda: MetaPrompt().about(0, NAMES)),
    ("labels", lambda: write_labels(iter([1]), "labels.csv")),
    ("dataset", lambda: read_dataset({"image": "x.png"})),
    ("dataset", lambda: read_dataset(colour_examples()[0])),
    ("classnames", lambda: LabeledImages((), NAMES).only(["rad"])),
    ("image", lambda: compiled(trainset=[dspy.Example(photo="x.png", label="red")])),
    ("label", lambda: compiled(trainset=[dspy.Example(image="x.png")])),
]


@pytest.mark.parametrize(
    ("argument", "call"), WRONG, ids=[f"{n}-{name}" for n, (name, _) in enumerate(WRONG)]
)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(
    argument: str, call: Callable[[], Any]
) -> None:
    with pytest.raises(IPOError) as raised:
        call()
    message = str(raised.value)
    assert argument in message
    assert "\n" not in message
    assert len(message) < 400


def test_other_optimizers_arguments_are_answered_with_what_does_the_same_here() -> None:
    with pytest.raises(ArgumentError, match="prompts_per_step"):
        IPOOptimizer(breadth=4)
    with pytest.raises(ArgumentError, match=r"reflection_lm.*prompt_model"):
        IPOOptimizer(reflection_lm=offline_lm())


def test_numbers_of_numpy_are_numbers() -> None:
    optimizer = IPOOptimizer(steps=np.int64(3), temperature=np.float32(0.5))
    assert optimizer.budget.steps == 3


def test_lists_of_any_kind_are_lists() -> None:
    assert CLIPClassifier(np.array(["a", "b"]), ColourEncoder()).classnames == ("a", "b")


@pytest.mark.parametrize("name", ipo_dspy.__all__)
def test_everything_public_that_is_called_is_checked(name: str) -> None:
    public = getattr(ipo_dspy, name)
    if not callable(public) or name in ("Encoder", "ProposePrompt"):
        pytest.skip("it is not called")
    if isinstance(public, type) and issubclass(public, (Exception, Score.__base__)):
        pytest.skip("an error, or a record that checks itself")
    target = public.__init__ if isinstance(public, type) else public
    if not inspect.isfunction(target):
        target = type(target).__call__
    assert getattr(target, "__ipo_checked__", False)


def test_what_fits_is_handed_on_as_it_came() -> None:
    class Holder:
        @checked
        def keep(self, items: "list[Any]", share: Share = 0.5) -> Any:
            return items

    items = [object()]
    assert Holder().keep(items) is items
    with pytest.raises(ArgumentError, match=r"Holder\.keep: share must be a number"):
        Holder().keep(items, share=1.5)


def test_a_bound_may_be_infinite() -> None:
    assert Budget(seconds=float("inf"), dollars=float("inf")).seconds == float("inf")


def test_messages_are_one_line_whatever_is_in_them() -> None:
    with pytest.raises(IPOError, match=r"a\\nb\\x1b"):
        read_folder("a\nb\x1b")


def test_a_value_whose_repr_fails_is_still_told() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ArgumentError, match="Broken"):
        Budget(steps=Broken())


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "a whole number or None"),
        (Count, "a whole number from 1 to 1,000,000,000"),
        (Share, "a number from 0 to 1"),
        (list[str], "a list of texts"),
        (list[list[str]], "a list of lists of texts"),
        (dspy.Module, "a Module"),
        (str | Path | None, "a path or None"),
        (Mapping[str, Sequence[str]], "a dictionary of lists of texts"),
        (Callable[[int, str], None], "a function that takes 2 arguments"),
        (type[dspy.Signature], "a class of Signature"),
    ],
)
def test_annotations_are_put_in_words(annotation: Any, words: str) -> None:
    assert described(annotation) == words


def test_what_a_protocol_asks_for_is_told() -> None:
    with pytest.raises(ArgumentError, match="calls_per_image, describe, spec"):
        IPOOptimizer(describer=lambda image: "a cup")  # type: ignore[arg-type]
