"""IPO as a DSPy optimizer: `IPOOptimizer(metric=clip_acc).compile(program)`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dspy
from dspy.teleprompt import Teleprompter
from dspy.utils import BaseCallback

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, Natural, NotNegative, checked
from ipo_dspy.features.backends import Backend, make_backend
from ipo_dspy.images.names import check_several
from ipo_dspy.optimizers.base import (
    copy_to_optimize,
    find_describer,
    open_run,
    training_examples,
    whole_seed,
)
from ipo_dspy.optimizers.parts import identity_of
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.confusion import confused_classes
from ipo_dspy.programs.describe import DescribePredict
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import ZeroShotPredict, zero_shot_predictors
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import (
    INSTRUCTION_META_PROMPT,
    PAPER_META_PROMPT,
    DescribeClass,
    MetaPrompt,
    ProposeInstruction,
    ProposePrompt,
)
from ipo_dspy.proposing.class_texts import ClassTextModel
from ipo_dspy.proposing.describers import Describer, FileDescriber
from ipo_dspy.proposing.describing import describe_images, spread_images
from ipo_dspy.proposing.faults import NO_LANGUAGE_MODEL, check_address
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.proposing.proposer import Proposer
from ipo_dspy.records import Trial
from ipo_dspy.runs.budget import Budget, Plan, Spent
from ipo_dspy.runs.calls import within
from ipo_dspy.runs.events import Sense
from ipo_dspy.runs.journal import EventLog, Journal, NoJournal
from ipo_dspy.runs.progress import progress_bar
from ipo_dspy.scoring.evaluate import CANDIDATE
from ipo_dspy.scoring.scorers import Scorer, make_scorer
from ipo_dspy.search.engine import Search, Settings
from ipo_dspy.search.ensemble import join_best
from ipo_dspy.search.history import History
from ipo_dspy.search.results import IPOResults, attach_results
from ipo_dspy.search.strategies import Strategy, make_strategy
from ipo_dspy.search.target import Target, about_step, first_texts, keeps_case, rules_for

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)


_ELSEWHERE = {
    "auto": "steps= and budget=Budget(...) bound a search, and plan(program) says what it takes",
    "breadth": "prompts_per_step= is how many prompts a step proposes",
    "depth": "steps= is how many rounds of proposals there are",
    "num_candidates": "prompts_per_step= times steps= prompts are proposed",
    "num_trials": "steps= is how many rounds of proposals there are",
    "max_full_evals": "steps= times prompts_per_step= prompts are scored, each on all examples",
    "max_metric_calls": "budget=Budget(calls=...) bounds the calls of language models",
    "init_temperature": "temperature= is that of the proposals",
    "reflection_lm": "prompt_model= is the language model that proposes",
    "task_model": "the program's own model is dspy.configure(lm=...), or program.set_lm(...)",
    "teacher_settings": "nothing is learned from a teacher",
    "max_bootstrapped_demos": "prompts are sought and no demos; TipAdapter makes demos count",
    "max_labeled_demos": "prompts are sought and no demos; TipAdapter makes demos count",
    "minibatch": "every prompt is scored on all examples",
    "minibatch_size": "every prompt is scored on all examples",
    "eval_kwargs": "num_threads= and max_errors= of the optimizer are what an evaluation takes",
    "requires_permission_to_run": "nothing asks for permission; plan(program) says what it takes",
    "log_dir": "run_dir= is the folder of a search",
    "track_best_outputs": "track_stats= attaches what was found",
    "verbose": "on_trial= is called with every prompt, and logging tells the same",
    "task": "the initial prompt is initial=, and what the model is asked is meta_prompt=",
}
"""Arguments of COPRO, MIPROv2 and GEPA, and what does the same here."""
_HINTS = {"budget": "such as Budget(calls=100), while steps=100 bounds the steps"}


@checked(elsewhere=_ELSEWHERE, hints=_HINTS)
class IPOOptimizer(Teleprompter):
    """Interpretable prompt optimization (Du et al., NeurIPS 2024) for DSPy programs.

    Searches a better CLIP template for the `CLIPPredict` in a program, or, where there is none,
    better instructions for its language-model predictors: per step the prompt model sees a
    meta-prompt, descriptions of the training images and the best prompts so far with loss and
    accuracy, and writes new prompts, which are checked, scored and remembered.

    Args:
        metric: a DSPy metric; `clip_acc` and `clip_prob` are scored in tensors.
        preset: `paper` follows the paper to the letter: its instructions, one first template,
            prompts ordered by accuracy and then by the loss as the encoder gives it.
        prompt_model: the language model that proposes, or what names one: `offline`, `hf:NAME`,
            or a model of DSPy; None takes the configured one.
        describer: what describes the training images, or what names it: `vocabulary` (the encoder
            ranks visual words), `none`, `file:PATH`, `hf:NAME`, or a model of DSPy that sees
            images; None takes `vocabulary`, and for language-model programs `none`.
        proposer: a module with the fields of `ProposePrompt` that calls the configured language
            model; None takes `Proposer`.
        meta_prompt: the instructions to the prompt model; None takes `MetaPrompt()`, and for
            language-model programs `INSTRUCTION_META_PROMPT`.
        steps: steps of the search; None takes those of `budget`, which has 100 by default.
        prompts_per_step: proposals of a step, each a call of its own.
        history_size: how many scored prompts the prompt model sees.
        images_described: most training images that are described, evenly spaced.
        initial: the first template, or a list of them; None takes the student's. A template that
            is not in a list gets a few others beside it that differ in structure
            (`FIRST_TEMPLATES`); they cost no call.
        ensemble: how many of the best prompts make the program `detailed_results.ensemble` beside
            the one that is found; 0 makes none. Programs with one template alone have one.
        class_texts: how many texts describe each class, in the program `detailed_results.described`
            beside the one that is found; 0 asks for none. The most confused classes are asked for
            first, each by one call, with what `budget` has left; of its `calls`, one for each class
            is put aside. For a `CLIPClassifier`.
        classes_described: names of further classes to describe, such as novel ones.
        predictors: names of the predictors whose texts are searched for; None takes those with a
            template, and in programs without one all. `["describe"]` searches the instruction that
            says how to describe a class.
        temperature: of the proposals; None leaves it to the model.
        send_seed: send each call's number as its seed, to models that take one.
        strategy: what is tried next, a `Strategy` or the name of one: `steps`, the paper's, or
            `steady`, which keeps `prompts_per_step` calls in flight all the time, each made from
            the history as it stands; for prompt models that take long to answer. Which prompts are
            found then depends on the order in which answers arrive. `evolve` mixes in edits of the
            best templates, which take no calls, and goes on with them alone where the model's
            answers are no use; `random` is a control that asks no model.
        steady: the same as `strategy="steady"`.
        budget: further bounds.
        most_failures: so many useless answers in a row end the search.
        backend: who embeds the program's images during the search, a `Backend` or the name of one:
            `local`, `ray`; None leaves that to the program. What is found does not depend on it.
        num_threads: most calls in flight; None takes DSPy's setting.
        max_errors: so many examples on which program or metric raise make a prompt `failed`; None
            takes DSPy's setting.
        seed: numbers the calls, so that a repeated search makes the same ones.
        run_dir: folder of the journal; a search that is begun again there goes on where it was.
        identity: with a `run_dir`, stands for what cannot be told of metric, program or proposer,
            such as a connection that they hold; to be changed whenever that changes.
        track_stats: attach `candidate_programs`, `trial_logs` and `detailed_results`.
        progress: show a bar; None shows it on a terminal or in a notebook.
        on_trial: called with every trial and what was spent so far.
        callbacks: DSPy callbacks for `on_compile_start` and `on_compile_end`.
    """

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        preset: Literal["paper"] | None = None,
        prompt_model: dspy.BaseLM | str | None = None,
        describer: Describer | str | None = None,
        proposer: dspy.Module | None = None,
        meta_prompt: MetaPrompt | None = None,
        steps: Count | None = None,
        prompts_per_step: Count = 5,
        history_size: Natural = 20,
        images_described: Natural = 64,
        initial: str | Sequence[str] | None = None,
        ensemble: Natural = 5,
        class_texts: Natural = 0,
        classes_described: Sequence[str] = (),
        predictors: Sequence[str] | None = None,
        temperature: NotNegative | None = 1.0,
        send_seed: bool = True,
        strategy: str | Strategy | None = None,
        steady: bool = False,
        budget: Budget | None = None,
        most_failures: Count = 10,
        backend: Backend | str | None = None,
        num_threads: Count | None = None,
        max_errors: Natural | None = None,
        seed: int = 0,
        run_dir: str | Path | None = None,
        identity: str | None = None,
        track_stats: bool = True,
        progress: bool | None = None,
        on_trial: Callable[[Trial, Spent], None] | None = None,
        callbacks: Sequence[BaseCallback] | None = None,
    ) -> None:
        super().__init__()
        if proposer is not None and any(p.lm is not None for p in proposer.predictors()):
            raise ArgumentError(
                "The proposer has a language model of its own, whose calls could not be told apart "
                "in DSPy's cache. Pass the model as prompt_model and call proposer.set_lm(None)."
            )
        if meta_prompt is not None:
            meta_prompt.about(1, ["class"])
        if isinstance(proposer, dspy.Predict):
            lacking = set(ProposePrompt.fields) - set(proposer.signature.fields)
            if lacking:
                raise ArgumentError(
                    f"The signature of proposer has no {', '.join(sorted(lacking))}; take the "
                    "fields of ProposePrompt."
                )
        if steady and strategy not in (None, "steady"):
            raise ArgumentError("steady=True means strategy='steady'; give one of them.")
        self.metric = metric
        self.preset = preset
        self.prompt_model = prompt_model
        self.describer = describer
        self.proposer = proposer
        self.meta_prompt = meta_prompt
        self.prompts_per_step = index(prompts_per_step)
        self.history_size = index(history_size)
        self.images_described = index(images_described)
        self.initial = initial
        self.ensemble = index(ensemble)
        self.class_texts = index(class_texts)
        self.classes_described = tuple(classes_described)
        self.predictors = None if predictors is None else tuple(predictors)
        self.temperature = None if temperature is None else float(temperature)
        self.send_seed = send_seed
        self.strategy = strategy if strategy is not None else "steady" if steady else "steps"
        if isinstance(self.strategy, str):
            registry.find("strategies", self.strategy)
        self.budget = budget or Budget()
        if steps is not None:
            self.budget = replace(self.budget, steps=steps)
        self.most_failures = most_failures
        self.backend = None if backend is None else make_backend(backend)
        self.num_threads = num_threads
        self.max_errors = max_errors
        self.seed = whole_seed(seed)
        self.run_dir = None if run_dir is None else Path(run_dir).expanduser()
        self.identity = identity
        self.track_stats = track_stats
        self.progress = progress
        self.on_trial = on_trial
        self.callbacks = [] if callbacks is None else list(callbacks)

    def get_params(self) -> dict[str, Any]:
        """Give the settings; changing the answer changes nothing here."""
        return dict(self.__dict__)

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
        valset: Sequence[dspy.Example] | None = None,
    ) -> dspy.Module:
        """Search, and give a copy of the student with the best prompt.

        The student is not changed and its encoder is shared. Of the prompts
        whose training accuracy is within two standard errors of the highest, the kept one has the
        lowest loss, at one scale for all prompts of the run (see `Ranking`); with a `valset`, its
        accuracy and loss decide.

        Args:
            student: a `CLIPClassifier`, any program around one, or a program of predictors.
            trainset: examples to search on; None takes `student.trainset`.
            teacher: not used; taken because other optimizers take one.
            valset: examples that decide which prompt is kept.

        Raises:
            ArgumentError: there is no training set, no predictor or no prompt model, or the initial
                prompt breaks a rule.
            SearchStoppedError: the prompt model cannot be used, or gave useless answers in a row.
            OutOfTimeError: the time is up before the program's own texts are scored.
            JournalError: the run folder belongs to another search or cannot be written.
            UnknownIdentityError: with a run folder, it cannot be told of something that decides
                the search whether it is the same when it goes on; `identity` vouches for it.
        """
        examples = training_examples(student, trainset)
        lm = self._language_model()
        program = copy_to_optimize(student)
        for each in zero_shot_predictors(program).values():
            check_several(each.classnames)
        self._check_class_texts(program)
        describer = self._describer(program)
        if isinstance(describer, FileDescriber):
            describer.check(len(self.images_to_describe(examples)))
        spent = Spent()
        with (
            self._backed(program),
            self._open_journal(program, examples, valset, lm, describer) as journal,
            within(self.budget.seconds, since=spent.started),
            self._bar() as bar,
        ):
            bar.set_description("reading and encoding images")
            own = getattr(program, "describe", None)
            if isinstance(own, DescribePredict):
                own.keep_in(journal)
            targets = self._targets(program, examples, valset)
            bar.set_description("describing images")
            descriptions = describe_images(
                describer,
                self.images_to_describe(examples),
                [name for p in zero_shot_predictors(program).values() for name in p.classnames],
                journal,
                self.most_failures,
                sum_up=self.preset != "paper",
            )
            search = Search(
                targets,
                PromptModel(
                    lm, self._proposer(program), self.temperature, self.seed, self.send_seed
                ),
                make_strategy(
                    self.strategy, prompts_per_step=self.prompts_per_step, seed=self.seed
                ),
                self._settings(descriptions, program),
                journal,
                self._listener(bar),
                spent,
            )
            bar.set_description("searching")
            search.run()
            if isinstance(own, DescribePredict):
                # What it is asked later is no part of the run.
                own.keep_in(NoJournal())
            described = self._described(program, examples, lm, journal, search.spent)
        found = IPOResults(
            tuple(search.trials),
            search.best,
            search.spent,
            search.ended_by,
            targets[0].history.ranking,
            join_best(program, search.trials, targets[0].history.ranking, self.ensemble),
            described,
            settings=self._told(lm, describer, examples),
        )
        if found.useless is not None:
            logger.warning(
                "None of the %d answers of %r could be used; the last one: %s.",
                sum(trial.step > 0 for trial in found.trials),
                lm.model,
                found.useless.reason,
            )
        if self.track_stats:
            attach_results(program, found)
        return program

    @contextmanager
    def _backed(self, program: dspy.Module) -> Iterator[None]:
        """Let the backend embed the images of all CLIP predictors."""
        with ExitStack() as stack:
            for predictor in zero_shot_predictors(program).values():
                stack.enter_context(predictor.embedder.backed_by(self.backend))
            yield

    def plan(self, student: dspy.Module, *, trainset: Sequence[dspy.Example] | None = None) -> Plan:
        """Work out how many calls and about how many tokens `compile` takes, making none."""
        examples = training_examples(student, trainset)
        meta_prompt = self._meta_prompt(student)
        calls = self.budget.steps * self.prompts_per_step
        to_describe = self._classes_to_describe(student)
        if self.budget.calls is not None:
            calls = min(calls, max(0, self.budget.calls - to_describe))
        plan = Plan.estimate(
            calls=calls,
            instructions=[
                meta_prompt.task,
                meta_prompt.scores,
                meta_prompt.goal,
                meta_prompt.facts,
            ],
            descriptions=len(self.images_to_describe(examples)),
            calls_per_image=self._describer(student).calls_per_image,
            history_size=self.history_size,
            scoring_calls=self._scoring_calls(student, calls, len(examples)),
        )
        instruction = DescribeClass.instructions
        return plan.with_class_texts(to_describe, instruction, self.class_texts)

    def _scoring_calls(self, program: dspy.Module, proposals: int, examples: int) -> int:
        """About how many calls the program's language models take to score all candidates."""
        clip = zero_shot_predictors(program)
        describers = [p for p in program.predictors() if isinstance(p, DescribePredict)]
        asking = len(program.predictors()) - len(clip) - len(describers)
        searched = self.searched(program)
        calls = (len(searched) + proposals) * examples * asking
        if describers and isinstance(program, CLIPClassifier):
            # A class is asked for once for an instruction, whatever the number of examples.
            changed = any(isinstance(p, DescribePredict) for p in searched.values())
            calls += len(program.classnames) * (1 + (proposals if changed else 0))
        return calls

    def images_to_describe(self, trainset: Sequence[dspy.Example]) -> list[object]:
        """Pick the images that are described: at most `images_described`, at even distances."""
        return spread_images(trainset, self.images_described)

    def _told(
        self, lm: dspy.BaseLM, describer: Describer, trainset: Sequence[dspy.Example]
    ) -> dict[str, str]:
        """The settings of a search, for people to read."""
        return {
            "prompt model": str(getattr(lm, "model", type(lm).__name__)),
            "describer": type(describer).__name__,
            "examples searched on": f"{len(trainset):,}",
            "steps": str(self.budget.steps),
            "prompts per step": str(self.prompts_per_step),
            "history size": str(self.history_size),
            "temperature": "of the model" if self.temperature is None else str(self.temperature),
            "strategy": self.strategy
            if isinstance(self.strategy, str)
            else type(self.strategy).__name__,
            "seed": str(self.seed),
        }

    def searched(self, program: dspy.Module) -> dict[str, dspy.Predict]:
        """The predictors whose texts are searched for, by name.

        Raises:
            ArgumentError: the program has none of a name that was given.
        """
        known = dict(program.named_predictors())
        if self.predictors is None:
            return dict(zero_shot_predictors(program)) or known
        if lacking := [name for name in self.predictors if name not in known]:
            raise ArgumentError(
                f"The program has no predictor {', '.join(map(repr, lacking))}; it has "
                f"{', '.join(map(repr, known)) or 'none'}."
            )
        return {name: known[name] for name in self.predictors}

    def _searches_templates(self, program: dspy.Module) -> bool:
        return all(isinstance(p, ZeroShotPredict) for p in self.searched(program).values())

    def _language_model(self) -> dspy.BaseLM:
        lm = dspy.settings.lm if self.prompt_model is None else self.prompt_model
        if lm is None:
            raise ArgumentError(NO_LANGUAGE_MODEL)
        if not isinstance(lm, str):
            check_address(getattr(lm, "kwargs", {}).get("api_base"))
            return lm
        from ipo_dspy.proposing.models import language_model

        return language_model(lm)

    def _describer(self, program: dspy.Module) -> Describer:
        clip = list(zero_shot_predictors(program).values())
        return find_describer(self.describer, clip[0].embedder if clip else None)

    def _meta_prompt(self, program: dspy.Module) -> MetaPrompt:
        if self.meta_prompt is not None:
            return self.meta_prompt
        if not self._searches_templates(program):
            return INSTRUCTION_META_PROMPT
        return PAPER_META_PROMPT if self.preset == "paper" else MetaPrompt()

    def _proposer(self, program: dspy.Module) -> dspy.Module:
        if self.proposer is not None:
            return self.proposer
        signature = ProposePrompt if self._searches_templates(program) else ProposeInstruction
        return Proposer(self._meta_prompt(program).signature(signature))

    def _check_class_texts(self, program: dspy.Module) -> None:
        if self.class_texts and not isinstance(program, CLIPClassifier):
            raise ArgumentError(
                f"class_texts describes the classes of a CLIPClassifier, not of a "
                f"{type(program).__name__}."
            )

    def _described(
        self,
        program: dspy.Module,
        examples: Sequence[dspy.Example],
        lm: dspy.BaseLM,
        log: EventLog,
        spent: Spent,
    ) -> dspy.Module | None:
        """Give the found program texts for each class, the most confused ones first."""
        if not self.class_texts or not isinstance(program, CLIPClassifier):
            return None
        described = program.deepcopy()
        describer = described.describe = DescribePredict(self.class_texts)
        confused = confused_classes(described.predict, described.classnames, examples)
        if self.classes_described:
            others = confused_classes(described.predict, self.classes_described)
            confused |= {name: of for name, of in others.items() if name not in confused}
        ClassTextModel(
            lm,
            self.temperature,
            self.seed,
            self.send_seed,
            self.num_threads or dspy.settings.num_threads,
            self.most_failures,
        ).describe(describer, confused, described.template.text, log, spent, self.budget)
        describer.keep_in(NoJournal())
        described.predict.class_texts = describer.known
        return described if any(describer.known.values()) else None

    def _classes_to_describe(self, program: dspy.Module) -> int:
        """How many classes are asked for beside the search."""
        if not self.class_texts or not isinstance(program, CLIPClassifier):
            return 0
        return len({*program.classnames, *self.classes_described})

    def _settings(self, descriptions: Sequence[str], program: dspy.Module) -> Settings:
        budget = self.budget
        if budget.calls is not None:
            aside = self._classes_to_describe(program)
            budget = replace(budget, calls=max(0, budget.calls - aside))
        return Settings(
            descriptions=descriptions,
            prompts_per_step=self.prompts_per_step,
            history_size=self.history_size,
            num_threads=self.num_threads or dspy.settings.num_threads,
            budget=budget,
            most_failures=self.most_failures,
        )

    def _targets(
        self,
        program: dspy.Module,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None,
    ) -> list[Target]:
        predictors = self.searched(program)
        if not predictors:
            raise ArgumentError(
                f"{type(program).__name__} has no predictor to optimise; expected a CLIPClassifier "
                "or a program with at least one dspy.Predict."
            )
        meta_prompt = self._meta_prompt(program)
        key = "eval_train" if valset else CANDIDATE
        targets = []
        for name, predictor in predictors.items():
            rules = rules_for(predictor)
            varied = self.preset != "paper" and len(predictors) == 1
            first = first_texts(predictor, rules, self.initial, varied=varied)
            target = Target(
                name=name,
                predictor=predictor,
                rules=rules,
                meta_prompt=_about(meta_prompt, predictor, trainset),
                about=about_step(name, predictor, trainset),
                training=self._scorer(program, name, trainset, key),
                validation=self._scorer(program, name, valset, CANDIDATE) if valset else None,
                others=first[1:],
                # Texts of several predictors are tried in turn, each beside the others' best.
                history=History(
                    keeps_case=keeps_case(predictor),
                    fit_scale=self.preset != "paper" and len(predictors) == 1,
                ),
            )
            target.use(first[0])
            targets.append(target)
        return targets

    def _scorer(
        self, program: dspy.Module, name: str, examples: Sequence[dspy.Example], metric_key: str
    ) -> Scorer:
        return make_scorer(
            program, name, examples, self.metric, self.num_threads, self.max_errors, metric_key
        )

    def _open_journal(
        self,
        program: dspy.Module,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None,
        lm: dspy.BaseLM,
        describer: Describer,
    ) -> AbstractContextManager[Journal | NoJournal]:
        if self.run_dir is None:
            return open_run(None)
        identity = identity_of(self, program, trainset, valset or [], lm, describer)
        return open_run(self.run_dir, identity, self._sense(program, trainset, valset or []))

    def _sense(
        self,
        program: dspy.Module,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
    ) -> Sense:
        """What the journal of this search may say."""
        is_ours = self.strategy in ("steps", "steady")
        return Sense(
            images=len(self.images_to_describe(trainset)),
            predictors={
                name: Template if isinstance(predictor, ZeroShotPredict) else str
                for name, predictor in self.searched(program).items()
            },
            sizes=(len(trainset), len(valset)),
            prompts_per_step=self.prompts_per_step if is_ours else None,
        )

    def _bar(self) -> tqdm[Any]:
        total = self.budget.steps * self.prompts_per_step
        return progress_bar("starting", total, "prompt", self.progress)

    def _listener(self, bar: tqdm[Any]) -> Callable[[Trial, Spent], None]:
        """What is told of every trial: the log, the bar, and who asked."""
        best = 0.0

        def listen(trial: Trial, spent: Spent) -> None:
            nonlocal best
            if trial.score is not None:
                best = max(best, trial.score.accuracy)
            bar.set_description(f"searching, best accuracy {best:.2f}", refresh=False)
            bar.update(trial.step > 0)
            self._listen(trial, spent)

        return listen

    def _listen(self, trial: Trial, spent: Spent) -> None:
        score = trial.score
        if score is None:
            logger.info("step %d: %s (%s): %r", trial.step, trial.state, trial.reason, trial.text)
        else:
            logger.info(
                "step %d: accuracy %.2f, loss %.4f: %r",
                trial.step,
                score.accuracy,
                score.loss,
                trial.text,
            )
        if self.on_trial is not None:
            self.on_trial(trial, spent)


def _about(
    meta_prompt: MetaPrompt, predictor: dspy.Predict, trainset: Sequence[dspy.Example]
) -> MetaPrompt:
    if not isinstance(predictor, ZeroShotPredict):
        return meta_prompt
    return meta_prompt.about(len(trainset), predictor.classnames)
