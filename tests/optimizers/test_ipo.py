import inspect
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import PIL.Image
import pytest
import torch
from dspy.utils.callback import BaseCallback

from ipo_dspy import (
    Budget,
    CLIPClassifier,
    CoOp,
    FileDescriber,
    IPOOptimizer,
    LMDescriber,
    MetaPrompt,
    NoDescriber,
    clip_acc,
    clip_prob,
    offline_lm,
)
from ipo_dspy.errors import ArgumentError, JournalError, SearchStoppedError
from ipo_dspy.prompts.template import FIRST_TEMPLATES
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.records import Description
from ipo_dspy.runs.budget import estimate_tokens
from ipo_dspy.testing import COLOURS, ColourEncoder, ScriptedEngine, colour_examples, scripted_lm

Examples = list[dspy.Example]
WORSE, BETTER, BEST = "a dull <CLASS>", "a flat <CLASS>", "a flat crisp <CLASS>"


@pytest.fixture
def student() -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder())


def optimizer(lm: dspy.BaseLM | Sequence[str], **settings: Any) -> IPOOptimizer:
    model = lm if isinstance(lm, dspy.BaseLM) else scripted_lm(lm)
    return IPOOptimizer(prompt_model=model, **{"steps": 1, "prompts_per_step": 3, **settings})


def vision_lm(answer: str = "grainy") -> dspy.LM:
    return scripted_lm([answer], field="description")


# What is found


def test_the_known_best_prompt_is_found(student: CLIPClassifier) -> None:
    best = optimizer([WORSE, "nonsense", BEST, BETTER], steps=2).compile(
        student, trainset=colour_examples()
    )
    assert best.template.text == BEST
    assert best.score == 100.0


@pytest.mark.slow
def test_the_offline_proposer_finds_the_good_words_that_descriptions_name() -> None:
    encoder = ColourEncoder(good_words=("chalk", "rough"))
    described = IPOOptimizer(prompt_model=offline_lm(), describer=OneText("chalk, rough, grey"))
    described.budget = Budget(steps=20)
    best = described.compile(CLIPClassifier(list(COLOURS), encoder), trainset=colour_examples())
    assert {"chalk", "rough"} <= set(best.template.text.replace(".", "").split())


class OneText:
    """Says the same about every image."""

    spec = "one"
    calls_per_image = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def describe(self, images: Any) -> Any:
        from ipo_dspy.records import Description

        return (Description(index=index, text=self.text) for index in images)


def test_an_encoder_of_ones_own_with_just_the_protocol_works() -> None:
    class Brightness:
        """Knows dark from bright pictures, if the template says tone."""

        spec = "own:brightness"
        context_length = 8

        def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
            light = torch.tensor([image.convert("L").getpixel((0, 0)) / 255 for image in images])
            return torch.nn.functional.normalize(torch.stack([light, 1 - light], dim=1), dim=-1)

        def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
            sign = [(1.0 if "bright" in t else -1.0) * (1 if "tone" in t else -1) for t in texts]
            return torch.tensor([[max(s, 0.0), max(-s, 0.0)] for s in sign])

        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [len(text.split()) for text in texts]

        def logits(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
            return images @ texts.T

    examples = [
        dspy.Example(image=PIL.Image.new("RGB", (4, 4), colour), label=label).with_inputs("image")
        for colour, label in (("black", "dark"), ("white", "bright"))
    ]
    student = CLIPClassifier(["dark", "bright"], Brightness())
    best = optimizer(["a <CLASS> thing", "a <CLASS> tone"]).compile(student, trainset=examples)
    assert best.template.text == "a <CLASS> tone"
    assert [best(image=e.image).label for e in examples] == ["dark", "bright"]


def test_with_a_validation_set_that_one_decides(student: CLIPClassifier) -> None:
    # What is labelled with the next colour is best classified by a bad prompt.
    colours = list(COLOURS)
    shifted = [
        dspy.Example(
            image=e.image, label=colours[(colours.index(e.label) - 1) % len(colours)]
        ).with_inputs("image")
        for e in colour_examples()
    ]
    best = optimizer([BEST]).compile(student, trainset=colour_examples(), valset=shifted)
    assert best.template.text == "a photo of a <CLASS>."
    assert best.detailed_results.best.score.accuracy < best.score == 100.0


def test_the_probability_metric_is_maximised_as_well(student: CLIPClassifier) -> None:
    found = optimizer([WORSE, BETTER, BEST], metric=clip_prob)
    best = found.compile(student, trainset=colour_examples())
    assert best.template.text == BEST
    assert 0 < best.score < 100


def test_a_metric_of_ones_own_is_run_on_predictions(student: CLIPClassifier) -> None:
    def reds(example: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> bool:
        return bool(pred.label == "red")

    best = optimizer([BEST], metric=reds).compile(student, trainset=colour_examples())
    assert best.score == pytest.approx(100 / 6)


def test_a_program_around_a_classifier_is_optimised(student: CLIPClassifier) -> None:
    class Outer(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classify = student
            self.comment = dspy.Predict("label -> comment")

        def forward(self, image: object) -> dspy.Prediction:
            return self.classify(image=image)

    best = optimizer([WORSE, BEST, BETTER]).compile(Outer(), trainset=colour_examples())
    assert best.classify.template.text == BEST
    assert "comment" in best.comment.signature.instructions


def test_an_ensemble_can_be_the_initial_prompt(student: CLIPClassifier) -> None:
    ensemble = "a photo of a <CLASS>.\nart of a {}"
    best = optimizer([WORSE], initial=ensemble).compile(student, trainset=colour_examples())
    assert best.detailed_results.trials[0].text == "a photo of a <CLASS>.\nart of a <CLASS>"


def test_the_defaults_are_those_of_the_method() -> None:
    made = IPOOptimizer(metric=clip_acc)
    defaults = inspect.signature(IPOOptimizer.__init__).parameters
    assert made.budget == Budget(steps=100)
    assert (made.prompts_per_step, made.history_size, made.temperature) == (5, 20, 1.0)
    assert defaults["metric"].default is clip_acc


def test_steps_come_from_the_budget_unless_given() -> None:
    assert IPOOptimizer(budget=Budget(steps=7, calls=3)).budget == Budget(steps=7, calls=3)
    assert IPOOptimizer(steps=9, budget=Budget(steps=7, calls=3)).budget == Budget(9, calls=3)


def test_a_repeated_search_finds_the_same_bit_for_bit(student: CLIPClassifier) -> None:
    trials = [
        optimizer(offline_lm(), steps=5)
        .compile(student, trainset=colour_examples())
        .detailed_results.trials
        for _ in range(2)
    ]
    assert trials[0] == trials[1]


def test_another_seed_makes_another_search(student: CLIPClassifier) -> None:
    texts = [
        optimizer(offline_lm(), seed=seed)
        .compile(student, trainset=colour_examples())
        .detailed_results.prompts
        for seed in (0, 1)
    ]
    assert texts[0] != texts[1]


# What stays as it was


def test_the_student_is_not_changed_and_the_encoder_is_shared(student: CLIPClassifier) -> None:
    before = (student.template, dict(vars(student)), student.dump_state())
    best = optimizer([BEST]).compile(student, trainset=colour_examples())
    assert (student.template, dict(vars(student)), student.dump_state()) == before
    assert best is not student
    assert best.embedder is student.embedder
    assert best.predict is not student.predict


def test_the_images_that_came_with_the_program_are_its_training_set(
    tmp_path: Path, student: CLIPClassifier
) -> None:
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for number in range(3):
            shade = tuple(max(0, channel - number) for channel in colour)
            PIL.Image.new("RGB", (8, 8), shade).save(tmp_path / name / f"{number}.png")
    program = CLIPClassifier.from_folder(tmp_path, ColourEncoder(), shots=2)
    best = optimizer([BEST]).compile(program)
    assert best.detailed_results.best.score.n == 12
    assert best.data is program.data


def test_only_training_and_validation_images_are_ever_encoded() -> None:
    class Watching(ColourEncoder):
        def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
            seen.extend(image.getpixel((0, 0)) for image in images)
            return super().encode_images(images)

    seen: list[Any] = []
    train, validation, _test = (colour_examples(per_colour=3)[n::3] for n in range(3))
    student = CLIPClassifier(list(COLOURS), Watching())
    optimizer([BEST]).compile(student, trainset=train, valset=validation)
    given = {_pixel(example) for example in [*train, *validation]}
    assert set(seen) == given
    assert len(seen) == len(given)


def _pixel(example: dspy.Example) -> Any:
    from ipo_dspy.images import open_image

    return open_image(example.image).getpixel((0, 0))


def test_settings_trace_and_threads_are_as_before(student: CLIPClassifier) -> None:
    before = (dict(dspy.settings.config), len(dspy.settings.trace), threading.active_count())
    optimizer([BEST], describer=LMDescriber(vision_lm())).compile(
        student, trainset=colour_examples()
    )
    after = (dict(dspy.settings.config), len(dspy.settings.trace), threading.active_count())
    assert after == before


def test_callers_of_get_params_cannot_change_the_optimizer() -> None:
    made = optimizer([BEST])
    made.get_params().update(seed=9, student=None)
    assert made.seed == 0
    assert not hasattr(made, "student")


# What comes back with the program


def test_results_come_in_the_shapes_of_dspys_own_optimizers(student: CLIPClassifier) -> None:
    best = optimizer([WORSE, BEST, "no slot"]).compile(student, trainset=colour_examples())
    assert best.candidate_programs[0]["instruction"] == BEST
    for candidate in best.candidate_programs:
        assert candidate["program"].template.text == candidate["instruction"]
        evaluate = dspy.Evaluate(devset=colour_examples(), metric=clip_acc, num_threads=1)
        assert evaluate(candidate["program"]).score == pytest.approx(candidate["score"])
    assert best.score == best.candidate_programs[0]["score"]
    assert (best.total_calls, best.detailed_results.spent.calls) == (3, 3)
    assert json.loads(json.dumps(best.trial_logs))["0"]["text"] == "a photo of a <CLASS>."
    assert best.detailed_results.ended_by == "steps: 1 made"


def test_results_can_be_left_off(student: CLIPClassifier) -> None:
    best = optimizer([BEST], track_stats=False).compile(student, trainset=colour_examples())
    assert best.template.text == BEST
    assert not hasattr(best, "candidate_programs")


def test_the_results_of_an_earlier_search_do_not_pile_up(student: CLIPClassifier) -> None:
    first = optimizer([BETTER]).compile(student, trainset=colour_examples())
    second = optimizer([BEST]).compile(first, trainset=colour_examples())
    assert hasattr(first, "candidate_programs")
    assert not any(hasattr(c["program"], "score") for c in second.candidate_programs)
    third = optimizer([BEST], track_stats=False).compile(second, trainset=colour_examples())
    assert not hasattr(third, "detailed_results")


def test_a_program_can_be_optimised_again_and_is_not_frozen(student: CLIPClassifier) -> None:
    first = optimizer([BETTER]).compile(student, trainset=colour_examples())
    assert not first._compiled
    assert len(first.predictors()) == 1


def test_the_program_found_is_saved_as_small_json(student: CLIPClassifier, tmp_path: Path) -> None:
    best = optimizer([BEST]).compile(student, trainset=colour_examples())
    best.save(tmp_path / "program.json")
    assert (tmp_path / "program.json").stat().st_size < 4096
    loaded = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())
    assert loaded.template.text == BEST


def test_every_trial_is_told(student: CLIPClassifier) -> None:
    told: list[tuple[str, int]] = []
    optimizer([WORSE], on_trial=lambda t, spent: told.append((t.text, spent.calls))).compile(
        student, trainset=colour_examples()
    )
    assert told[0] == ("a photo of a <CLASS>.", 0)
    assert sum(calls > 0 for _, calls in told) == 3


def first_texts(found: dspy.Module) -> list[str]:
    return [trial.text for trial in found.detailed_results.trials if trial.step == 0]


def test_an_encoder_that_likes_bare_names_gets_one_without_a_call() -> None:
    class Bare(ColourEncoder):
        def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
            # What stands around the name hides it.
            return super().encode_texts(
                [f"crisp flat {text}" if len(text.split()) == 1 else "" for text in texts]
            )

    student = CLIPClassifier(list(COLOURS), Bare())
    best = optimizer(["a fine <CLASS>"]).compile(student, trainset=colour_examples())
    assert best.template.text == "<CLASS>"
    assert best.score == 100.0


def test_a_single_first_prompt_gets_others_of_other_structure_beside_it(
    student: CLIPClassifier,
) -> None:
    found = optimizer([BEST], initial=WORSE).compile(student, trainset=colour_examples())
    assert first_texts(found) == [WORSE, *FIRST_TEMPLATES]


def test_a_list_of_first_prompts_is_taken_as_it_is(student: CLIPClassifier) -> None:
    found = optimizer([BEST], initial=[WORSE, BETTER]).compile(student, trainset=colour_examples())
    assert first_texts(found) == [WORSE, BETTER]


def test_an_empty_list_of_first_prompts_is_refused(student: CLIPClassifier) -> None:
    with pytest.raises(ArgumentError):
        optimizer([BEST], initial=[]).compile(student, trainset=colour_examples())


def test_the_papers_preset_begins_with_one_prompt_and_leaves_the_loss_as_it_is(
    student: CLIPClassifier,
) -> None:
    found = optimizer([BEST], preset="paper").compile(student, trainset=colour_examples())
    assert first_texts(found) == ["a photo of a <CLASS>."]
    assert found.detailed_results.ranking.scale == 1.0


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ArgumentError):
        IPOOptimizer(preset="poster")  # type: ignore[arg-type]


def test_the_scale_is_the_same_after_a_resume(student: CLIPClassifier, tmp_path: Path) -> None:
    made = [
        optimizer([BEST, WORSE, BETTER], run_dir=tmp_path).compile(
            student, trainset=colour_examples()
        )
        for _ in range(2)
    ]
    scales = [best.detailed_results.ranking.scale for best in made]
    assert scales[0] == scales[1] != 1.0
    assert made[0].trial_logs == made[1].trial_logs
    assert all("fitted_loss" in log for log in made[0].trial_logs.values())


def test_callbacks_hear_of_the_compilation(student: CLIPClassifier) -> None:
    class Listening(BaseCallback):
        def on_compile_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            heard.append("start")

        def on_compile_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
            heard.append("end")

    heard: list[str] = []
    optimizer([BEST], callbacks=[Listening()]).compile(student, trainset=colour_examples())
    assert heard == ["start", "end"]


# What the prompt model sees


def requests_of(student: CLIPClassifier, **settings: Any) -> list[str]:
    lm = scripted_lm([BEST])
    optimizer(lm, prompts_per_step=1, **settings).compile(student, trainset=colour_examples())
    return list(lm.engine.requests)


def test_the_encoder_describes_the_images_if_nothing_else_does(student: CLIPClassifier) -> None:
    [request] = requests_of(student, images_described=2)
    assert "Words that fit the 2 images" in request
    [of_paper] = requests_of(student, images_described=2, preset="paper")
    assert "Image 0: " in of_paper
    assert "Image 1: " in of_paper
    assert "Image 2: " not in of_paper


def test_the_prompt_model_is_told_what_the_accuracy_stands_for_and_a_few_classes(
    student: CLIPClassifier,
) -> None:
    [request] = requests_of(student)
    assert "counts 6 training images" in request
    assert ", ".join(list(COLOURS)[:5]) in request
    [of_paper] = requests_of(student, preset="paper")
    assert "training images; one of them" not in of_paper


def test_the_described_images_are_spread_evenly(student: CLIPClassifier, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("first\nsecond\n")
    made = optimizer([BEST], images_described=2)
    examples = colour_examples()
    assert made.images_to_describe(examples) == [examples[0].image, examples[3].image]
    [request] = requests_of(student, describer=FileDescriber(path), images_described=2)
    assert "Image 0: first" in request
    assert "Image 1: second" in request


def test_descriptions_of_a_vision_model_are_told_without_class_names() -> None:
    student = CLIPClassifier(["red", "green", "1"], ColourEncoder())
    lm = scripted_lm([BEST])
    describer = LMDescriber(vision_lm("A Red thing and two greens"))
    examples = [e for e in colour_examples() if e.label in ("red", "green")]
    optimizer(lm, prompts_per_step=1, describer=describer).compile(student, trainset=examples)
    [request] = lm.engine.requests
    assert "Image 1: A object thing and two object" in request


def test_without_a_describer_the_prompt_model_sees_no_descriptions(
    student: CLIPClassifier,
) -> None:
    [request] = requests_of(student, describer=NoDescriber())
    assert "Image 0" not in request


def test_images_that_could_not_be_described_are_left_out(student: CLIPClassifier) -> None:
    def answer(number: int, request: str) -> str:
        if number == 0:
            raise dspy.lm15.ServerError("broken", provider="p", status=500)
        return f"text {number}"

    engine = ScriptedEngine(answer, field="description")
    lm = dspy.LM("scripted/vision", engine=engine, cache=False, num_retries=0)
    [request] = requests_of(student, describer=LMDescriber(lm, num_threads=1))
    assert "Image 0" not in request
    assert "Image 5: text 5" in request


@pytest.mark.parametrize("resumed", [False, True])
def test_a_vision_model_that_describes_nothing_ends_the_search(
    student: CLIPClassifier, tmp_path: Path, resumed: bool
) -> None:
    for _ in range(1 + resumed):
        describer = LMDescriber(vision_lm(""))
        with pytest.raises(SearchStoppedError, match="No image could be described"):
            requests_of(student, describer=describer, run_dir=tmp_path)
    [request] = requests_of(student, describer=LMDescriber(vision_lm("text")), run_dir=tmp_path)
    assert "Image 5: text" in request


def test_the_initial_prompt_and_its_scores_are_shown(student: CLIPClassifier) -> None:
    [request] = requests_of(student, initial="a {} thing")
    shown = request.split("[[ ## scored_history ## ]]")[-1]
    assert '{"prompt": "a <CLASS> thing", "loss": ' in shown


def test_the_initial_prompt_is_shown_though_many_are_better(student: CLIPClassifier) -> None:
    lm = scripted_lm(lambda number, request: f"a flat crisp <CLASS> {number}")
    optimizer(lm, steps=10, history_size=3).compile(student, trainset=colour_examples())
    shown = lm.engine.requests[-1].split("[[ ## scored_history ## ]]")[-1]
    assert shown.count('"prompt"') == 4
    assert '[{"prompt": "a photo of a <CLASS>."' in shown


def test_why_a_proposal_was_refused_is_shown_in_the_next_step(student: CLIPClassifier) -> None:
    lm = scripted_lm(["a photo", "word " * 20 + "<CLASS>", BEST])
    optimizer(lm, steps=2, prompts_per_step=2).compile(student, trainset=colour_examples())
    first, second = lm.engine.requests[0], lm.engine.requests[-1]
    assert "refused" not in first
    assert "- 'a photo': expected <CLASS> exactly once" in second
    assert "it has 23 tokens with the longest class name filled in" in second


def test_the_instructions_can_be_replaced_and_put_in_another_order(
    student: CLIPClassifier,
) -> None:
    meta_prompt = MetaPrompt(
        task="MY TASK",
        goal="MY GOAL",
        order=("scored_history", "image_descriptions", "meta_prompt"),
    )
    [request] = requests_of(student, meta_prompt=meta_prompt)
    assert "CLIP classifies images" not in request
    assert (
        request.rindex("a photo of a")
        < request.rindex("Words that fit")
        < request.rindex("MY TASK")
    )
    assert request.rindex("MY TASK") < request.rindex("MY GOAL")


# A proposer of one's own


def test_the_proposer_can_be_any_module_with_the_same_fields(student: CLIPClassifier) -> None:
    class Reasoning(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.think = dspy.Predict("meta_prompt, scored_history -> idea")
            self.write = dspy.Predict("idea -> prompt")

        def forward(
            self, meta_prompt: str, image_descriptions: list[str], scored_history: list[Any]
        ) -> dspy.Prediction:
            idea = self.think(meta_prompt=meta_prompt, scored_history=scored_history).idea
            return self.write(idea=idea)

    def answer(number: int, request: str) -> str:
        return BEST if "crispness" in request else "[[ ## idea ## ]]\ncrispness"

    best = optimizer(scripted_lm(answer), proposer=Reasoning()).compile(
        student, trainset=colour_examples()
    )
    assert best.template.text == BEST


def test_the_proposer_may_use_no_language_model_at_all(student: CLIPClassifier) -> None:
    class Fixed(dspy.Module):
        def forward(self, **inputs: Any) -> dspy.Prediction:
            assert set(inputs) == {"meta_prompt", "image_descriptions", "scored_history"}
            return dspy.Prediction(prompt=BEST)

    best = optimizer([WORSE], proposer=Fixed()).compile(student, trainset=colour_examples())
    assert best.template.text == BEST


def test_a_proposer_with_a_language_model_of_its_own_is_refused() -> None:
    proposer = dspy.Predict("meta_prompt -> prompt")
    proposer.set_lm(scripted_lm([BEST]))
    with pytest.raises(ValueError, match="Pass the model as prompt_model"):
        IPOOptimizer(proposer=proposer)


# Programs of language-model predictors


def exact(example: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> float:
    return float(example.answer == pred.answer)


def question_examples() -> Examples:
    return [
        dspy.Example(question=f"question {n}", answer="yes" if n else "no").with_inputs("question")
        for n in range(4)
    ]


def answering(request: str) -> str:
    good = sum(word in request for word in ("Think.", "Check."))
    return "yes" if good == 2 or (good and "question 1" in request) else "maybe"


def test_an_instruction_of_a_language_model_program_is_optimised() -> None:
    lm = scripted_lm(lambda number, request: answering(request), field="answer")
    writer = scripted_lm(["Think.", "Think. Check.", "Nothing."])
    with dspy.context(lm=lm):
        best = optimizer(writer, metric=exact, num_threads=1).compile(
            dspy.Predict("question -> answer"), trainset=question_examples()
        )
    assert best.signature.instructions == "Think. Check."
    assert best.score == 75.0
    for trial in best.detailed_results.trials:
        assert trial.score.loss == pytest.approx(1 - trial.score.accuracy / 100)
    assert "CLIP" not in writer.engine.requests[0]
    assert "The task is to write the instruction" in writer.engine.requests[0]


def test_the_predictors_of_a_program_are_optimised_in_turn() -> None:
    class Chain(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.draft = dspy.Predict("question -> draft")
            self.final = dspy.Predict("question, draft -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            return self.final(question=question, draft=self.draft(question=question).draft)

    def answer(number: int, request: str) -> str:
        if "output fields are:\n1. `draft`" in request:
            return "[[ ## draft ## ]]\n" + ("Think." if "Draft well." in request else "?")
        told = "Check." if "Finish well." in request else ""
        return f"[[ ## answer ## ]]\n{answering(request + told)}"

    lm = scripted_lm(answer, field=None)
    writer = scripted_lm(["Draft well.", "Finish well."])
    with dspy.context(lm=lm):
        best = optimizer(writer, metric=exact, steps=2, prompts_per_step=1, num_threads=1).compile(
            Chain(), trainset=question_examples()
        )
    assert [trial.predictor for trial in best.detailed_results.trials] == [
        *("draft", "final"),
        *("draft", "final"),
    ]
    assert best.draft.signature.instructions == "Draft well."
    assert best.final.signature.instructions == "Finish well."
    assert [trial.score.accuracy for trial in best.detailed_results.trials] == [0, 0, 25, 75]


# Broken set-ups


def test_without_a_language_model_it_says_how_to_configure_one(student: CLIPClassifier) -> None:
    with pytest.raises(ValueError, match=r"dspy\.configure\(lm=.*offline_lm\(\)"):
        IPOOptimizer().compile(student, trainset=colour_examples())


def test_models_can_be_given_by_name(student: CLIPClassifier, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("crisp\n" * 6)
    for describer in ("vocabulary", "none", f"file:{tmp_path / 'texts'}"):
        made = IPOOptimizer(
            prompt_model="offline", describer=describer, steps=1, images_described=6
        )
        best = made.compile(student, trainset=colour_examples())
        assert best.detailed_results.spent.calls == 5


def test_a_search_without_a_run_folder_says_that_nothing_was_kept(student: CLIPClassifier) -> None:
    with pytest.raises(SearchStoppedError, match="Nothing was kept; with run_dir="):
        optimizer(scripted_lm(["nonsense"]), steps=9).compile(student, trainset=colour_examples())


def test_another_encoder_of_the_same_name_is_another_run(
    student: CLIPClassifier, tmp_path: Path
) -> None:
    class Reloaded(ColourEncoder):
        image_fingerprint = "other weights"

    made = optimizer(scripted_lm([BEST]), run_dir=tmp_path)
    made.compile(student, trainset=colour_examples())
    other = CLIPClassifier(student.classnames, Reloaded())
    with pytest.raises(JournalError, match="encoder weights"):
        made.compile(other, trainset=colour_examples())


def test_another_language_model_of_the_program_is_another_run(tmp_path: Path) -> None:
    examples = [dspy.Example(question="1 + 1?", answer="2").with_inputs("question")]
    made = IPOOptimizer(
        lambda example, pred: example.answer == pred.answer,
        prompt_model=scripted_lm(["Answer."]),
        steps=1,
        run_dir=tmp_path,
    )
    right, wrong = scripted_lm(["2"], field="answer"), scripted_lm(["3"], field="answer")
    right.model, wrong.model = "own/right", "own/wrong"
    with dspy.context(lm=right):
        made.compile(dspy.Predict("question -> answer"), trainset=examples)
    with dspy.context(lm=wrong), pytest.raises(JournalError, match="language models"):
        made.compile(dspy.Predict("question -> answer"), trainset=examples)


def test_a_search_without_a_usable_answer_warns(
    student: CLIPClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    best = optimizer(scripted_lm(["nonsense"])).compile(student, trainset=colour_examples())
    assert best.template == student.template
    assert "None of the 3 answers of 'scripted/model' could be used" in caplog.text


@pytest.mark.slow
def test_seconds_count_from_the_start_of_compile(student: CLIPClassifier) -> None:
    class Slow:
        spec = "slow"
        calls_per_image = 0

        def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
            time.sleep(0.3)
            return iter(())

    lm = scripted_lm([BEST])
    optimizer(lm, describer=Slow(), budget=Budget(seconds=0.2)).compile(
        student, trainset=colour_examples()
    )
    assert not lm.engine.requests


def test_the_configured_language_model_is_asked(student: CLIPClassifier) -> None:
    with dspy.context(lm=scripted_lm([BEST])):
        best = IPOOptimizer(steps=1).compile(student, trainset=colour_examples())
    assert best.template.text == BEST


@pytest.mark.parametrize("trainset", [None, []])
def test_without_a_training_set_it_says_what_to_pass(
    student: CLIPClassifier, trainset: Examples | None
) -> None:
    with pytest.raises(ValueError, match=r"Pass compile\(program, trainset="):
        optimizer([BEST]).compile(student, trainset=trainset)


def test_a_program_without_predictors_is_refused() -> None:
    class Empty(dspy.Module):
        """Holds nothing."""

    with pytest.raises(ValueError, match="Empty has no predictor to optimise"):
        optimizer([BEST]).compile(Empty(), trainset=colour_examples())


@pytest.mark.parametrize(
    ("initial", "reason"),
    [
        ("a photo", "found it 0 times"),
        ("word " * 20 + "<CLASS>", "has 23 tokens"),
        ("a <CLASS>\n" + "word " * 20 + "<CLASS>", "has 23 tokens"),
        ("a <CLASS>\na photo", "found it 0 times"),
    ],
)
def test_an_initial_prompt_that_breaks_a_rule_is_refused(
    student: CLIPClassifier, initial: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        optimizer([BEST], initial=initial).compile(student, trainset=colour_examples())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("prompts_per_step", 0),
        ("history_size", -1),
        ("images_described", -1),
        ("most_failures", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        IPOOptimizer(**{name: value})


def test_a_metric_that_is_no_function_is_refused() -> None:
    with pytest.raises(ValueError, match="metric must be a function"):
        IPOOptimizer(metric="accuracy")  # type: ignore[arg-type]


def test_a_label_that_is_no_class_name_is_named(student: CLIPClassifier) -> None:
    examples = [dspy.Example(image=colour_examples()[0].image, label="pink").with_inputs("image")]
    with pytest.raises(ValueError, match="'pink' is none of the 6 class names"):
        optimizer([BEST]).compile(student, trainset=examples)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["{}", "<CLASS>", "a_b", "[CLASS] {label}", "日本 🐈", "word " * 60, "\\1 (x"]
)
def test_strange_class_names_go_through_a_whole_search(name: str) -> None:
    student = CLIPClassifier([name, "red"], ColourEncoder(context_length=77))
    images = [example.image for example in colour_examples()]
    examples = [
        dspy.Example(image=images[0], label="red").with_inputs("image"),
        dspy.Example(image=images[1], label=name).with_inputs("image"),
    ]
    best = optimizer(offline_lm(), steps=2).compile(student, trainset=examples)
    assert best.detailed_results.spent.calls == 6
    assert all(trial.score for trial in best.detailed_results.trials if not trial.reason)


# The plan


@pytest.mark.slow
@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 3, "prompts_per_step": 2},
        {"steps": 4, "budget": Budget(calls=7)},
        {"steps": 4, "budget": Budget(calls=2)},
        {"images_described": 4, "describer": "lm"},
        {"images_described": 0, "describer": "lm"},
    ],
    ids=str,
)
def test_the_plan_is_what_is_called(
    student: CLIPClassifier, settings: dict[str, Any], steady: bool
) -> None:
    vision, writer = vision_lm(), scripted_lm([WORSE, BETTER, BEST])
    if "describer" in settings:
        settings = settings | {"describer": LMDescriber(vision)}
    made = optimizer(writer, steady=steady, **settings)
    plan = made.plan(student, trainset=colour_examples())
    assert not writer.engine.requests
    assert not vision.engine.requests
    made.compile(student, trainset=colour_examples())
    assert plan.proposal_calls == len(writer.engine.requests)
    assert plan.description_calls == len(vision.engine.requests)


@pytest.mark.slow
@pytest.mark.parametrize("described", [None, LMDescriber(vision_lm("fine words " * 30))])
def test_the_plan_tells_about_how_many_tokens_are_sent(
    student: CLIPClassifier, described: Describer | None
) -> None:
    lm = offline_lm()
    made = optimizer(lm, steps=10, describer=described)
    planned = made.plan(student, trainset=colour_examples(2)).proposal_tokens
    with dspy.track_usage() as usage:
        made.compile(student, trainset=colour_examples(2))
    words = usage.get_total_tokens()["offline/proposer"]["total_tokens"]
    sent = estimate_tokens(["word " * words])
    assert sent / 2 < planned < sent * 2


# What is written


@pytest.mark.slow
def test_no_key_is_written_logged_or_saved(
    student: CLIPClassifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = "a-very-secret-key"

    class Leaking(dspy.BaseLM):
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            raise ConnectionError(f"GET https://host/?k={key} refused")

    caplog.set_level(logging.DEBUG)
    lm = Leaking("own/model", api_key=key)
    with pytest.warns(DeprecationWarning, match="forward"):
        best = optimizer(lm, run_dir=tmp_path).compile(student, trainset=colour_examples())
    best.save(tmp_path / "program.json")
    written = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert len(written) >= 2
    assert any("refused" in text for text in written)
    assert not any(key in text for text in [*written, caplog.text, json.dumps(best.trial_logs)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), 2**70, -(2**70), -5])
def test_a_seed_may_be_a_whole_number_of_any_size_and_library(
    student: CLIPClassifier, tmp_path: Path, seed: int
) -> None:
    def found() -> str:
        search = optimizer(offline_lm(), seed=seed, run_dir=tmp_path)
        best: str = search.compile(student, trainset=colour_examples()).template.text
        return best

    assert found() == found()


@pytest.mark.parametrize("seed", [1.5, "x", None, np.float32(2)])
def test_a_seed_that_is_no_whole_number_is_refused(seed: object) -> None:
    with pytest.raises(ArgumentError, match="whole number"):
        IPOOptimizer(seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="whole number"):
        CoOp(seed=seed)  # type: ignore[arg-type]


def test_a_measure_beyond_percent_is_not_told_as_percent(student: CLIPClassifier) -> None:
    def beyond(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        return 10.0 + (example.label == prediction.label)

    for metric, in_percent in ((clip_acc, True), (beyond, False)):
        lm = scripted_lm([BEST])
        IPOOptimizer(metric, prompt_model=lm, steps=1, prompts_per_step=1).compile(
            student, trainset=colour_examples()
        )
        assert ("0 to 100" in lm.engine.requests[-1]) == in_percent


@pytest.mark.parametrize(("progress", "shows"), [(True, True), (False, False), (None, False)])
def test_a_bar_is_shown_where_it_is_asked_for_and_none_where_nobody_looks_on(
    progress: bool | None, shows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    optimizer = IPOOptimizer(
        prompt_model=scripted_lm(["a crisp flat <CLASS>"]),
        describer="none",
        steps=1,
        progress=progress,
    )
    optimizer.compile(CLIPClassifier(tuple(COLOURS), ColourEncoder()), trainset=colour_examples(1))
    assert ("searching" in capsys.readouterr().err) is shows
