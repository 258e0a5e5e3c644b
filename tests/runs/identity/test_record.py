import functools
import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, Self

import dspy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import IPOError, UnknownIdentityError
from ipo_dspy.runs.identity import Examples, RunIdentity, Setting, Thing, identity


class Work(NamedTuple):
    """The text of a module that defines `thing`, and a small change that makes other work of it."""

    name: str
    source: str
    old: str
    new: str

    @classmethod
    def read(cls, text: str) -> Self:
        name, _, rest = text.partition("\n")
        source, _, change = rest.strip().partition("\n--- ")
        old, _, new = change.partition(" => ")
        assert old in source
        return cls(name, source, old, new)

    @property
    def changed(self) -> str:
        return self.source.replace(self.old, self.new) if self.old else self.source

    @property
    def elsewhere(self) -> str:
        """The same work on other lines, with other comments."""
        first, _, rest = self.source.partition("\n")
        return f"# moved\n\n\n{first}  # said\n\n{rest}\n"


DATA = Path(__file__).parent / "data"
WORKS = [Work.read(text) for text in (DATA / "works.txt").read_text().split("=== ")[1:]]

TELL = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
import ipo_dspy.testing
from ipo_dspy.runs.identity import identity
modules = [importlib.import_module(f"work{i}") for i in range(int(sys.argv[2]))]
print(json.dumps([identity(module.thing) for module in modules]))
"""


def told(folder: Path, sources: list[str], hash_seed: int) -> list[str]:
    """The identities of the things that some modules define, told by a process of their own."""
    folder.mkdir(parents=True)
    for number, source in enumerate(sources):
        (folder / f"work{number}.py").write_text(source, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-c", TELL, str(folder), str(len(sources))],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return list(json.loads(answer.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("works")
    of_each = [
        told(folder / "a", [work.source for work in WORKS], 1),
        told(folder / "b", [work.source for work in WORKS], 2),
        told(folder / "another" / "place", [work.elsewhere for work in WORKS], 3),
        told(folder / "c", [work.changed for work in WORKS], 1),
    ]
    return {work.name: found for work, *found in zip(WORKS, *of_each, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_work_is_the_same_in_every_process_and_place(
    work: Work, known: dict[str, tuple[str, ...]]
) -> None:
    here, with_another_hash_seed, elsewhere, _ = known[work.name]
    assert here == with_another_hash_seed == elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("work", [w for w in WORKS if w.old], ids=lambda work: work.name)
def test_other_work_is_never_taken_for_the_same(
    work: Work, known: dict[str, tuple[str, ...]]
) -> None:
    here, *_, changed = known[work.name]
    assert here != changed


@pytest.mark.slow
def test_no_two_works_are_taken_for_each_other(known: dict[str, tuple[str, ...]]) -> None:
    of_each = {work.source: known[work.name][0] for work in WORKS}
    assert len(set(of_each.values())) == len(of_each)


# Data

plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
hashable = st.recursive(
    plain, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
data = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.sets(hashable, max_size=3)
        | st.dictionaries(hashable, inner, max_size=3)
    ),
    max_leaves=8,
)


def spelled(value: Any) -> str:
    """A text for a value, the same for values that are equal with equal types all through."""
    if isinstance(value, dict):
        inner = sorted(f"{spelled(k)}:{spelled(v)}" for k, v in value.items())
    elif isinstance(value, set | frozenset):
        inner = sorted(spelled(each) for each in value)
    elif isinstance(value, list | tuple):
        inner = [spelled(each) for each in value]
    else:
        inner = [repr(value)]
    return f"{type(value).__name__}({','.join(inner)})"


@pytest.mark.slow
@given(one=data, other=data)
def test_data_have_one_identity_if_and_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (identity(one) == identity(other)) == (spelled(one) == spelled(other))


def rebuilt(value: Any) -> Any:
    """Make a value anew, sets and mappings in another order, with nothing shared."""
    if isinstance(value, dict):
        return {rebuilt(k): rebuilt(value[k]) for k in reversed(list(value))}
    if isinstance(value, set | frozenset):
        return type(value)(rebuilt(each) for each in reversed(list(value)))
    if isinstance(value, list | tuple):
        return type(value)(rebuilt(each) for each in value)
    return value


@pytest.mark.slow
@given(data)
def test_the_order_of_sets_and_mappings_and_what_is_shared_mean_nothing(value: Any) -> None:
    assert identity([value, value]) == identity([rebuilt(value), rebuilt(value)])


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=5, max_size=5),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_circles_that_can_be_told_apart_never_have_one_identity(
    links: list[list[int]], one: int, other: int
) -> None:
    made: list[list[Any]] = [[] for _ in links]
    for each, to in zip(made, links, strict=True):
        each.extend(made[index] for index in to)
    assert identity(made[one]) == identity(deepcopy(made[one]))
    # Ten steps tell five things apart if anything does.
    if unfolded(links, one, 10) != unfolded(links, other, 10):
        assert identity(made[one]) != identity(made[other])


def unfolded(links: list[list[int]], start: int, steps: int) -> Any:
    shapes: list[Any] = [() for _ in links]
    numbers: dict[Any, int] = {}
    for _ in range(steps):
        shapes = [numbers.setdefault(tuple(shapes[i] for i in to), len(numbers)) for to in links]
    return shapes[start]


def test_numbers_of_numpy_count_as_those_of_python_where_they_hold_the_same() -> None:
    assert identity(np.int64(3)) == identity(3) == identity(np.uint8(3))
    assert identity(np.float64(0.5)) == identity(0.5)
    assert identity(np.bool_(True)) == identity(True)
    assert identity(np.str_("a")) == identity("a")
    assert identity(np.float32(0.1)) != identity(0.1)


def test_where_the_lines_of_code_break_means_nothing() -> None:
    on_one_line = """def metric(example, pred, kind={"a"}):
    for x in [y for y in example if y]:
        if x and pred: return (x if x.ok else 0.5)
        try: x.go()
        except ValueError: continue
    while pred: pred = next(pred)
    return None"""
    on_many = """def metric(example, pred, kind={"a"}):
    # Said.
    for x in [
        y
        for y in example
        if y
    ]:
        if (
            x
            and pred
        ):
            return (
                x

                if x.ok
                else 0.5
            )
        try:
            x.go()
        except ValueError:
            continue
    while (
        pred
    ):
        pred = next(pred)
    return (
        None
    )"""

    def made(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(source, names)
        return names["metric"]

    assert identity(made(on_one_line)) == identity(made(on_many))
    for old, new in {"if y": "if not y", "x and": "x or", "continue": "break"}.items():
        assert identity(made(on_one_line.replace(old, new))) != identity(made(on_many))


def test_what_an_object_worked_out_and_kept_is_no_part_of_it() -> None:
    class Words:
        @functools.cached_property
        def known(self) -> set[str]:
            return {"a", "b"}

    used = Words()
    assert used.known
    assert identity(used) == identity(Words())


def test_code_that_asks_the_configured_model_itself_counts_with_it() -> None:
    def metric(example: Any, pred: Any) -> Any:
        return dspy.settings.lm(example)

    with dspy.context(lm=dspy.LM("a/b")):
        one = identity(metric)
    with dspy.context(lm=dspy.LM("a/c")):
        assert identity(metric) != one


def test_an_array_counts_by_content_however_it_lies_in_memory() -> None:
    array = np.arange(6).reshape(2, 3)
    assert identity(array) == identity(np.asfortranarray(array)) == identity(array[:, ::1].copy())
    assert identity(array) != identity(array.astype(np.int32))


def test_an_image_in_an_example_counts_by_content(tmp_path: Path) -> None:
    from PIL import Image

    for name, colour in {"a.png": "red", "b.png": "red", "c.png": "blue"}.items():
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)

    def of(name: str) -> str:
        return identity(dspy.Example(image=tmp_path / name, label="x").with_inputs("image"))

    assert of("a.png") == of("b.png") != of("c.png")


# What cannot be told


class Compiled:
    """Pickles by a name under which nothing is found, as compiled things do."""

    def __reduce__(self) -> str:
        return "nowhere"


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        (each for each in "abc"),
        open(os.devnull),  # noqa: SIM115
        Compiled(),
        np.frompyfunc(lambda x: x, 1, 1),
        sys._getframe(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_told_is_said_and_asked_for(value: object) -> None:
    def metric(example: object, pred: object) -> bool:
        return example == value

    with pytest.raises(UnknownIdentityError) as caught:
        identity(metric)
    assert isinstance(caught.value, IPOError)
    assert "`value`" in str(caught.value)
    assert type(value).__qualname__ in str(caught.value)
    assert "identity=" in str(caught.value)
    assert identity(metric, "one") != identity(metric, "two")
    assert identity(metric, "one") == identity(metric, "one")


def test_what_is_vouched_for_hides_nothing_else() -> None:
    def make(limit: float) -> Any:
        stream = (each for each in "abc")
        return lambda example, pred: (stream, limit)

    assert identity(make(0.5), "x") == identity(make(0.5), "x") != identity(make(0.6), "x")


def test_an_object_may_say_itself_what_stands_for_it() -> None:
    class Connected:
        def __init__(self, table: str) -> None:
            self.table = table
            self.connection = (each for each in "abc")

        def __run_identity__(self) -> dict[str, str]:
            return {"table": self.table}

    assert identity(Connected("a")) == identity(Connected("a")) != identity(Connected("b"))


# Language models


def test_keys_and_tokens_of_a_model_do_not_count() -> None:
    one = dspy.LM("a/b", api_key="sk-one-secret", aws_session_token="t1", extra_headers={"x": "1"})
    other = dspy.LM("a/b", api_key="sk-another", timeout=3, num_retries=9, cache=False)
    assert identity(one) == identity(other)
    assert identity(one) != identity(dspy.LM("a/b", max_tokens=7))


def test_an_address_counts_without_user_password_and_query() -> None:
    def at(address: str) -> str:
        return identity(dspy.LM("a/b", api_base=address))

    assert at("https://me:pass@host/v1?sig=x") == at("https://host/v1") != at("https://host/v2")


def test_a_predictor_counts_with_the_configured_model_and_adapter_where_it_has_none() -> None:
    program = dspy.Predict("a -> b")
    found = set()
    for lm in (dspy.LM("a/b"), dspy.LM("a/c")):
        for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
            with dspy.context(lm=lm, adapter=adapter):
                found.add(identity(program))
    assert len(found) == 4
    with dspy.context(lm=dspy.LM("a/b"), adapter=None):
        assert identity(program) in found


# Records


def examples(*numbers: int) -> list[dspy.Example]:
    return [dspy.Example(q=str(number), a="a").with_inputs("q") for number in numbers]


def record_of(run: RunIdentity) -> dict[str, Any]:
    """A record as it comes back from a journal."""
    return dict(json.loads(json.dumps({"format": 2, "version": "9.9", **run.record})))


def run(vouched: str | None = None, **changed: Any) -> RunIdentity:
    made = {"training": examples(1, 2, 3), "initial": ["a <CLASS>"], "metric": len, "seed": 0}
    made |= changed
    return RunIdentity(
        [
            Examples("training", ("image", "images"), "training images", made["training"]),
            Setting("initial", "another first prompt", made["initial"]),
            Thing("metric", "another metric", made["metric"]),
            Setting("seed", "another seed", made["seed"]),
        ],
        vouched,
    )


def test_the_same_run_has_no_differences_whatever_the_version() -> None:
    assert run().differences(record_of(run())) == []
    assert run(seed=np.int64(0)).differences(record_of(run())) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"training": examples(1, 2, 3, *range(10, 18))}, "8 images were added"),
        ({"training": examples(1, 2, 3, 4)}, "1 image was added"),
        ({"training": examples(2)}, "2 images were removed"),
        ({"training": examples(1, 2, 4)}, "1 image was changed"),
        ({"training": examples(1, 2, 3, 3)}, "1 image was added"),
        ({"training": examples(3, 2, 1)}, "another order"),
        ({"initial": ["the <CLASS>"]}, "another first prompt"),
        ({"metric": sum}, "another metric ('len' then, 'sum' now)"),
        ({"seed": 1}, "another seed (0 then, 1 now)"),
    ],
)
def test_a_difference_is_told_in_a_persons_words(changed: dict[str, Any], said: str) -> None:
    [difference] = run(**changed).differences(record_of(run()))
    assert said in difference
    assert not any(identity in difference for identity in identities(record_of(run())))


def identities(record: Any) -> list[str]:
    """The digests in a record."""
    if isinstance(record, dict):
        return [found for value in record.values() for found in identities(value)]
    is_digest = (
        isinstance(record, str) and len(record) >= 8 and set(record) <= set("0123456789abcdef")
    )
    return [record] if is_digest else []


def test_of_a_metric_the_part_that_changed_is_named() -> None:
    def make(threshold: float, penalty: float) -> Any:
        def metric(example: Any, pred: Any) -> Any:
            return (example > threshold) - penalty

        return metric

    [difference] = run(metric=make(0.5, 0.2)).differences(record_of(run(metric=make(0.5, 0.1))))
    assert "`penalty`" in difference
    assert "threshold" not in difference


def test_many_examples_are_compared_but_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipo_dspy.runs.identity.record.MOST_TOLD_APART", 2)
    assert run().differences(record_of(run())) == []
    [more] = run(training=examples(1, 2, 3, 4)).differences(record_of(run()))
    assert "1 image was added" in more
    [others] = run(training=examples(1, 2, 4)).differences(record_of(run()))
    assert "other training images" in others


def test_a_part_of_which_an_earlier_or_later_version_knows_nothing_is_not_compared() -> None:
    found = record_of(run())
    del found["run"]["seed"]
    found["run"]["weather"] = "fine"
    assert run().differences(found) == []


def test_another_word_for_what_cannot_be_told_is_another_run() -> None:
    stream = (each for each in "abc")
    found = record_of(run("one", metric=lambda e: stream))
    [*said] = run("two", metric=lambda e: stream).differences(found)
    assert any("identity=" in each for each in said)


def test_code_compiled_by_another_python_cannot_be_compared_unless_it_is_vouched_for() -> None:
    def older(vouched: str | None) -> dict[str, Any]:
        found = record_of(run(vouched, metric=lambda e: e))
        found["python"] = "3.9"
        found["run"]["metric"]["identity"] = "0" * 32
        return found

    [difference] = run(metric=lambda e: e).differences(older(None))
    assert "Python 3.9" in difference
    assert run("x", metric=lambda e: e).differences(older("x")) == []


def test_no_secret_enters_the_record() -> None:
    lm = dspy.LM("a/b", api_key="sk-very-secret", api_base="https://me:word@host/?key=hidden")
    written = json.dumps(record_of(run(metric=lm)))
    assert not any(secret in written for secret in ("very-secret", "word@", "hidden"))
