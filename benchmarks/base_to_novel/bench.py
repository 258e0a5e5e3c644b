"""Searches with IPO and tests prompts on one task, each once: a stopped command goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import dspy

from benchmarks.base_to_novel.described import Texts, class_names, make_texts, prompts_of
from benchmarks.base_to_novel.learning import (
    Learned,
    count_right,
    facts_of,
    make_learner,
    train,
)
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.outcomes import Counted, Fixed, Found, Step, remembered
from benchmarks.base_to_novel.published_counts import EXACT
from benchmarks.judging import Judge
from benchmarks.provenance import provenance
from ipo_dspy import CLIPClassifier, IPOOptimizer, __version__
from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.features.store import CacheableEncoder
from ipo_dspy.images import LabeledImages
from ipo_dspy.images.task import Task
from ipo_dspy.programs.prompt import Prompt, TextPrompt
from ipo_dspy.prompts.template import Template
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.records import Score, Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.runs.identity.earlier import digest
from ipo_dspy.scoring.comparison import Evaluator
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.search.results import IPOResults
from ipo_dspy.terminal.options import EncoderOptions, RunOptions
from ipo_dspy.terminal.output import SearchProgress, stage
from ipo_dspy.terminal.parts import make_describer, make_embedder, make_prompt_model


@dataclass(frozen=True)
class Method:
    """IPO with its models and settings.

    Attributes:
        lm: proposes prompts.
        describer: describes the training images; None lets the encoder rank a vocabulary.
        steps: of the search.
        prompts_per_step: proposals of a step.
        history_size: how many scored prompts the language model sees.
        num_threads: most calls at the same time.
        class_texts: most texts that describe each class; 0 asks for none.
    """

    lm: dspy.LM
    describer: Describer | None
    steps: int
    prompts_per_step: int
    history_size: int
    num_threads: int = 8
    class_texts: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """What decides what is found."""
        return {
            "prompt_model": self.lm.model,
            "describer": "vocabulary" if self.describer is None else self.describer.spec,
            "steps": self.steps,
            "prompts_per_step": self.prompts_per_step,
            "history_size": self.history_size,
            # What was found without goes on.
            **({"class_texts": self.class_texts} if self.class_texts else {}),
        }

    def optimizer(
        self, seed: int, folder: Path, on_trial: Callable[[Trial, Spent], None] | None = None
    ) -> IPOOptimizer:
        """Make the search, which goes on in its folder where it stopped."""
        return IPOOptimizer(
            # A copy has a history of its own, which is let go of with the search.
            prompt_model=self.lm.copy(),
            describer=self.describer,
            steps=self.steps,
            prompts_per_step=self.prompts_per_step,
            history_size=self.history_size,
            class_texts=self.class_texts,
            num_threads=self.num_threads,
            seed=seed,
            run_dir=folder,
            on_trial=on_trial,
        )


def make_lm(options: BenchmarkOptions) -> dspy.LM:
    """Make the language model that the options name.

    Raises:
        ArgumentError: the name is none of a model.
    """
    return make_prompt_model(RunOptions(proposing=options.proposing, describing=options.describing))


def make_method(options: BenchmarkOptions) -> Method:
    """Make the models that the options name.

    Raises:
        ArgumentError: a name is none of a model.
    """
    describing, search = options.describing, options.search
    if describing.image_model.startswith("file:"):
        raise ArgumentError(
            "A file of descriptions belongs to the images of one search; give a vision model, "
            "'vocabulary' or 'none' as --image-model."
        )
    return Method(
        lm=make_lm(options),
        describer=make_describer(describing),
        steps=search.steps,
        prompts_per_step=search.prompts_per_step,
        history_size=search.history_size,
        num_threads=describing.num_threads,
        class_texts=search.class_texts,
    )


def load_embedder(options: EncoderOptions) -> Embedder:
    """Load the encoder, in float32 unless another precision is asked for.

    Published counts of rightly classified images come out in float32.

    Raises:
        ArgumentError: the spec, device or precision is none there is.
        EncoderError: weights are missing, unreadable or do not fit.
    """
    exact = replace(options, precision=options.precision or EXACT)
    with stage(f"Loading the encoder {options.clip}"):
        return make_embedder(exact)


class Bench:
    """Does each search and each test once, and remembers it in a folder.

    Args:
        embedder: the encoder.
        runs: the folder of all runs.
    """

    def __init__(self, embedder: Embedder, runs: Path) -> None:
        self._embedder = embedder
        self._runs = runs
        self._judged: tuple[LabeledImages, Judge] | None = None
        encoder = embedder.encoder
        self._encoder = (
            encoder.image_fingerprint if isinstance(encoder, CacheableEncoder) else encoder.spec
        )

    def search(self, task: Task, method: Method) -> Found:
        """Let IPO search a prompt on the few training images, and test it on unseen ones.

        Raises:
            SearchStoppedError: a model cannot be used; the same call goes on where it stopped.
        """
        facts = self._facts(task) | method.facts
        return self._remembered("ipo", task, facts, Found, partial(self._search, task, method))

    def test(self, task: Task, texts: Mapping[str, str]) -> dict[str, Counted]:
        """Test prompts that nothing searched; those that are too long for the encoder are left out.

        A text of several lines is one ensemble.
        """

        def make(_: Path) -> Fixed:
            judge = self._judge(task)
            fitting = {name: text for name, text in texts.items() if self._fits(text, task)}
            return Fixed(tested={n: Counted.of(judge.judge(t)) for n, t in fitting.items()})

        facts = self._facts(task) | {"texts": dict(texts)}
        return self._remembered("fixed", task, facts, Fixed, make).tested

    def learn(self, task: Task, method: str, **arguments: Any) -> Learned:
        """Train a gradient learner on the few training images, and test it on unseen ones.

        Args:
            task: its name chooses the authors' settings.
            method: one of `LEARNERS`.
            arguments: come before the authors'.

        Raises:
            EncoderError: the encoder does not take learned vectors.
        """
        learner = make_learner(method, task.name, seed=task.seed, **arguments)
        facts = self._facts(task) | facts_of(learner)

        def make(folder: Path) -> Learned:
            learner.run_dir = folder
            with stage(f"Training {method}, {task.name}, seed {task.seed}"):
                fields, learned = train(learner, self._embedder, task.train, task.template)
            with stage("Testing"):
                tests = task.tests
                right = {part: count_right(self._embedder, tests[part], learned) for part in tests}
            tested = Counted(
                base_images=len(tests["base"]),
                base_right=right["base"],
                novel_images=len(tests["novel"]),
                novel_right=right["novel"],
            )
            return Learned(**fields, tested=tested)

        return self._remembered(method.lower(), task, facts, Learned, make)

    def describe(self, task: Task, method: str, lm: dspy.LM | None, num_threads: int) -> Counted:
        """Test whole texts for each class, which no image and no seed decides.

        Where a recipe draws several times, images count as often.

        Args:
            task: names the classes.
            method: one of `DESCRIBED`.
            lm: is asked, once for each data set.
            num_threads: most calls at the same time.
        """
        names = class_names(task)
        asked = {"version": __version__, "method": method, "names": names, "model": lm and lm.model}
        name = f"{task.name}-texts-{method.lower()}"
        texts: Texts = remembered(
            self._runs, name, asked, Texts, lambda _: make_texts(method, names, lm, num_threads)
        )

        def make(_: Path) -> Fixed:
            counted = self._count(task, prompts_of(method, texts), Template(task.template))
            return Fixed(tested={method: counted})

        facts = self._facts(task) | {"texts": digest([texts.model_dump_json()])}
        return self._remembered(method.lower(), task, facts, Fixed, make).tested[method]

    def _remembered(self, what: str, task: Task, *rest: Any) -> Any:
        return remembered(self._runs, f"{task.name}-seed{task.seed}-{what}", *rest)

    def _facts(self, task: Task) -> dict[str, Any]:
        return {
            "version": __version__,
            "dataset": task.name,
            "seed": task.seed,
            "encoder": digest([self._encoder]),
            "training_images": task.train.fingerprint(),
            "template": task.template,
            "test": [
                [len(part), digest(list(part.classnames))]
                for part in (task.tests["base"], task.tests["novel"])
            ],
        }

    def _judge(self, task: Task) -> Judge:
        # The seeds of a data set share their test images, which are then encoded once.
        if self._judged is None or self._judged[0] is not task.tests["base"]:
            with stage(f"Encoding {sum(map(len, task.tests.values())):,} test images"):
                self._judged = task.tests["base"], Judge(task, self._embedder)
        return self._judged[1]

    def _search(self, task: Task, method: Method, folder: Path) -> Found:
        progress = SearchProgress(method.steps, method.prompts_per_step)
        optimizer = method.optimizer(task.seed, folder, progress.show)
        optimizer.classes_described = task.unseen_classes
        student = CLIPClassifier(task.train.classnames, self._embedder, task.template)
        with progress.shown():
            program = optimizer.compile(student, trainset=task.train.examples)
        results: IPOResults = program.detailed_results
        passed_over, best = self._best_that_fits(results.ranked, task)
        if best.score is None:
            raise ArgumentError(f"Expected a prompt with a score, got {best!r}.")
        return Found(
            text=best.text,
            accuracy=best.score.accuracy,
            loss=best.score.loss,
            step=best.step,
            passed_over=passed_over,
            tested=Counted.of(self._judge(task).judge(best.text)),
            calls=results.spent.calls,
            tokens=results.spent.tokens,
            dollars=results.spent.dollars,
            curve=_curve(results.trials),
            commit=provenance(__name__)["commit"],
            described=self._with_texts(results.described, task),
        )

    def _with_texts(self, program: dspy.Module | None, task: Task) -> Counted | None:
        """Test the best prompt with texts for each class."""
        if not isinstance(program, CLIPClassifier):
            return None
        prompt = TextPrompt(program.template, program.class_texts)
        return self._count(task, [prompt], program.template)

    def _count(self, task: Task, prompts: Sequence[Prompt], template: Template) -> Counted:
        """Test prompts on unseen images and add up their counts."""
        right = {
            part: sum(
                sum(Evaluator(self._embedder, images).evaluate_prompt(each, template).hits)
                for each in prompts
            )
            for part, images in task.tests.items()
        }
        return Counted(
            base_images=len(prompts) * len(task.tests["base"]),
            base_right=right["base"],
            novel_images=len(prompts) * len(task.tests["novel"]),
            novel_right=right["novel"],
        )

    def _best_that_fits(self, ranked: Sequence[Trial], task: Task) -> tuple[int, Trial]:
        """Pass over prompts that are too long with a novel class name, which no search saw."""
        for passed_over, trial in enumerate(ranked):
            if self._fits(trial.text, task):
                return passed_over, trial
        raise ArgumentError(
            f"No prompt fits the encoder with the novel class names of {task.name}; it takes at "
            f"most {self._embedder.encoder.context_length} tokens."
        )

    def _fits(self, text: str, task: Task) -> bool:
        names = [name for part in task.tests.values() for name in part.classnames]
        tokens = self._embedder.count_tokens(Template(text), names)
        return tokens <= self._embedder.encoder.context_length


def _curve(trials: Sequence[Trial]) -> tuple[Step, ...]:
    by_step: dict[int, list[Score]] = defaultdict(list)
    for trial in trials:
        if trial.score is not None:
            by_step[trial.step].append(trial.score)
    steps = []
    best: Score | None = None
    order = Ranking.of(score for scores in by_step.values() for score in scores).order
    for step, scores in sorted(by_step.items()):
        best = max([best, *scores] if best else scores, key=order)
        steps.append(
            Step(
                step=step,
                prompts=len(scores),
                loss=fmean(score.loss for score in scores),
                accuracy=fmean(score.accuracy for score in scores),
                best_loss=best.loss,
                best_accuracy=best.accuracy,
            )
        )
    return tuple(steps)
