from ipo_dspy.records import Reply, Score, State, Trial
from ipo_dspy.search.history import History, Past


def scored(text: str, accuracy: float, loss: float = 1.0, step: int = 1) -> Trial:
    score = Score(accuracy=accuracy, loss=loss, n=10)
    return Trial(step=step, slot=0, text=text, state=State.OK, score=score)


def refused(text: str, reason: str) -> Trial:
    return Trial(step=1, slot=0, text=text, state=State.INVALID, reason=reason)


def history(*trials: Trial) -> History:
    made = History()
    for trial in trials:
        made.add(trial)
    return made


def shown(of: History, size: int) -> list[str]:
    return [line.prompt for line in of.shown(size)]


def test_the_best_prompts_are_shown_worst_first() -> None:
    made = history(
        scored("initial", 10, step=0), scored("b", 50), scored("c", 30), scored("a", 50, loss=0.5)
    )
    assert shown(made, 2) == ["initial", "b", "a"]
    assert shown(made, 20) == ["initial", "c", "b", "a"]


def test_the_initial_prompt_is_always_among_those_shown() -> None:
    made = history(scored("initial", 10, step=0), *(scored(str(n), 20 + n) for n in range(30)))
    assert shown(made, 3) == ["initial", "27", "28", "29"]
    assert shown(made, 1) == ["initial", "29"]


def test_the_initial_prompt_is_shown_at_its_rank() -> None:
    made = history(scored("initial", 40, step=0), scored("worse", 30), scored("better", 50))
    assert shown(made, 2) == ["initial", "better"]


def test_a_history_of_size_zero_shows_nothing() -> None:
    assert shown(history(scored("initial", 10, step=0)), 0) == []


def test_only_prompts_with_a_score_are_shown_and_by_their_training_score() -> None:
    better_in_validation = scored("v", 20).model_copy(
        update={"validation": Score(accuracy=99, loss=0, n=1)}
    )
    made = history(scored("t", 30), refused("r", "bad"), better_in_validation)
    lines = made.shown(5)
    assert [(line.prompt, line.accuracy) for line in lines] == [
        ("v", 20.0),
        ("t", 30.0),
    ]


def test_scores_are_shown_rounded() -> None:
    [line] = history(scored("x", 100 / 3, loss=1 / 3)).shown(1)
    assert (line.accuracy, line.loss) == (33.33, 0.3333)


def test_letter_case_counts_where_the_tokenizer_keeps_it() -> None:
    made = History(keeps_case=True)
    made.add(scored("A Photo", 50))
    assert "A  Photo" in made
    assert "a photo" not in made


def test_a_text_counts_as_tried_whatever_its_case_and_spaces() -> None:
    made = history(scored("A photo of a <CLASS>.", 10))
    assert " a PHOTO  of a <class>." in made
    assert "a photo of a <CLASS>" not in made


def test_refused_texts_do_not_count_as_tried() -> None:
    assert "a photo" not in history(refused("a photo", "no slot"))


def test_the_latest_different_refusals_come_first() -> None:
    made = history(refused("a", "1"), refused("b", "2"), scored("c", 10), refused("a", "3"))
    assert made.refusals(5, among=9) == [("a", "3"), ("b", "2")]
    assert made.refusals(1, among=9) == [("a", "3")]
    assert made.refusals(0, among=9) == []
    assert made.refusals(5, among=2) == [("a", "3")]


def test_the_losers_are_what_the_history_does_not_show() -> None:
    made = history(scored("initial", 10, step=0), *(scored(str(n), 20 + n) for n in range(5)))
    assert made.losers(2, 9) == ["2", "1", "0"]
    assert made.losers(2, 1) == ["2"]
    assert made.losers(0, 9) == []


def reply(step: int, slot: int, text: str = "x") -> dict[str, object]:
    return {"reply": Reply(step=step, slot=slot, text=text).model_dump()}


def trial(step: int, slot: int, useless: bool = False) -> dict[str, object]:
    state = State.FAILED if useless else State.OK
    made = Trial(step=step, slot=slot, text="", state=state, counts_as_failure=useless)
    return {"trial": made.model_dump(mode="json")}


def past(*events: dict[str, object]) -> Past:
    made = Past()
    for event in events:
        made.add(event)
    return made


def test_replies_come_back_as_they_were_settled_and_then_the_open_ones() -> None:
    made = past(reply(1, 0), reply(1, 1), reply(1, 2), trial(1, 2), trial(1, 1))
    assert [r.call for r in made.in_order()] == [(1, 2), (1, 1), (1, 0)]


def test_useless_trials_are_counted_from_the_end() -> None:
    events = [reply(1, n) for n in range(4)]
    made = past(*events, trial(1, 0, True), trial(1, 1), trial(1, 2, True), trial(1, 3, True))
    assert [t.call for t in made.useless()] == [(1, 3), (1, 2)]


def test_calls_made_again_lose_their_earlier_answers_but_stay_counted() -> None:
    made = past(reply(1, 0, "old"), trial(1, 0, True), {"again": [[1, 0]]}, reply(1, 0, "new"))
    assert made.replies[1, 0].text == "new"
    assert not made.trials
    assert [r.text for r in made.all_replies] == ["old", "new"]


def test_events_of_other_kinds_are_passed_over() -> None:
    assert not past({"description": {"index": 0}}).replies


def test_the_worst_prompts_are_shown_first_where_negative_examples_are_asked_for() -> None:
    made = history(scored("initial", 10, step=0), *(scored(str(n), 20 + n) for n in range(9)))
    assert [line.prompt for line in made.shown(2, worst=3)] == ["initial", "0", "1", "7", "8"]
    assert len(made.shown(20, worst=3)) == 10
