"""The report in a real browser; skipped where there is none (`apt-get install chromium`)."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from PIL import Image

from ipo_dspy.exports import report as report_module
from ipo_dspy.exports.photographs import Described
from ipo_dspy.exports.report import Report, render
from ipo_dspy.exports.usage import Way
from ipo_dspy.images.shown import thumbnail
from ipo_dspy.records import Score, State, Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.comparison import Comparison, Evaluation
from ipo_dspy.search.results import IPOResults

pytestmark = pytest.mark.slow

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    '"></style></script><script>window.pwned = 1</script>{{ 7 * 7 }}'
    "\u202egnihtyna\u2066\u200b\x1b[31m"
)
LONG = "W" * 5000 + HOSTILE
WIDTHS, SCHEMES = (400, 1200), ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("there is no Chromium here; apt-get install chromium brings it")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        yield chromium
        chromium.close()


class Seen:
    """An open page, and what it did."""

    def __init__(self, browser: Any, file: Path, width: int = 1200, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.refused: dict[str, str] = {}
        self.page.on(
            "requestfailed", lambda request: self.refused.update({request.url: request.failure})
        )
        self.page.goto(file.as_uri())

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)


def trial(step: int, text: str) -> Trial:
    score = Score(accuracy=50.0 + step, loss=2.0, n=10)
    return Trial(step=step, slot=0, text=text, state=State.OK, score=score)


def evaluation(text: str, hits: tuple[bool, ...], guesses: tuple[str, ...]) -> Evaluation:
    accuracy = 100 * sum(hits) / len(hits)
    score = Score(accuracy=accuracy, loss=1.0, n=len(hits), per_class={LONG: accuracy, "cat": 1})
    return Evaluation(text, score, hits, guesses=guesses)


def hostile_report() -> Report:
    picture = Image.new("RGB", (300, 200), "green")
    examples = tuple(
        dspy.Example(image=picture, label=label).with_inputs("image") for label in ("cat", LONG)
    )
    trials = (trial(0, "a <CLASS>."), trial(1, HOSTILE), trial(2, LONG))
    refused = Trial(step=2, slot=1, text=LONG, state=State.INVALID, reason=HOSTILE)
    return Report(
        title=HOSTILE,
        results=IPOResults(
            (*trials, refused), trials[-1], Spent(), HOSTILE, settings={HOSTILE: LONG}
        ),
        comparisons=[
            Comparison(
                HOSTILE,
                evaluation(HOSTILE, (True, False), ("cat", "dog")),
                evaluation(LONG, (False, True), (HOSTILE, LONG)),
                examples=examples,
            )
        ],
        settings={"clip": HOSTILE},
        remarks=[HOSTILE, LONG],
        described=[Described(thumbnail(picture), HOSTILE), Described("", LONG)],
        counts={HOSTILE: HOSTILE},
        ways=[Way(HOSTILE, ("first = '<&>\"'", LONG)), Way("two", (HOSTILE,))],
        made=HOSTILE,
    )


@pytest.fixture(scope="module")
def hostile_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render(hostile_report(), learned=LONG), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_hostile_texts_neither_run_nor_load_nor_widen_the_page(
    browser: Any, hostile_file: Path, width: int, scheme: str
) -> None:
    seen = Seen(browser, hostile_file, width, scheme)
    seen.page.wait_for_timeout(100)

    assert seen.value("window.pwned") is None
    assert seen.complaints == []
    assert [url for url in seen.asked if not url.startswith("data:")] == [hostile_file.as_uri()]
    assert seen.value("document.documentElement.scrollWidth") <= width
    assert seen.value("document.scripts.length") == 1
    assert seen.value("[...document.images].every(image => image.naturalWidth > 0)")
    text = seen.value("document.body.textContent")
    assert "<script>window.pwned = 1</script>" in text
    assert not {"\u202e", "\u2066", "\u200b", "\x1b"} & set(text)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_can_be_told_from_what_is_behind_it(
    browser: Any, hostile_file: Path, scheme: str
) -> None:
    contrast = """() => {
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const parts = css => css.match(/[\\d.]+/g).map(Number);
      const behind = e => { for (; e; e = e.parentElement) {
        const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] > 0) return c; } };
      return Math.min(...[...document.querySelectorAll("body *")]
        .filter(e => !["SCRIPT", "svg"].includes(e.tagName) && !e.closest("svg"))
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .map(e => { const [a, b] = [parts(getComputedStyle(e).color), behind(e)].map(light)
          .sort((x, y) => y - x); return (a + .05) / (b + .05); }));
    }"""
    assert Seen(browser, hostile_file, scheme=scheme).value(contrast) >= 4.5


def test_the_page_is_dark_where_a_person_wants_it_dark(browser: Any, hostile_file: Path) -> None:
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (Seen(browser, hostile_file, scheme=scheme).value(script) for scheme in SCHEMES)
    assert light != dark


def test_what_somebody_adds_to_the_page_is_not_run(
    browser: Any, hostile_file: Path, tmp_path: Path
) -> None:
    added = (
        "<script>window.pwned = 1</script><img src='x' onerror='window.pwned = 1'>"
        "<img src='https://example.invalid/seen.png'><style>body { color: red }</style></body>"
    )
    file = tmp_path / "added.html"
    file.write_text(hostile_file.read_text("utf-8").replace("</body>", added), encoding="utf-8")
    seen = Seen(browser, file)
    seen.page.wait_for_timeout(100)

    assert seen.value("window.pwned") is None
    assert seen.value("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert seen.refused == {
        "https://example.invalid/seen.png": "csp",
        (tmp_path / "x").as_uri(): "csp",
    }


def test_a_button_copies_the_lines_beside_it(browser: Any, hostile_file: Path) -> None:
    seen = Seen(browser, hostile_file)
    seen.page.click("button[data-copies=way1]")
    seen.page.wait_for_selector("button:has-text('copied')")

    copied = seen.value("navigator.clipboard.readText()")
    assert copied.startswith("first = '<&>\"'\nWWW")
    assert copied == seen.value("document.getElementById('way1').textContent")


def test_an_open_page_follows_a_search_to_its_end(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "SECONDS_BETWEEN", 1)
    file = tmp_path / "report.html"
    going_on = replace(hostile_report(), running="step 1 of 2")
    file.write_text(render(going_on), encoding="utf-8")
    seen = Seen(browser, file)
    assert "step 1 of 2" in seen.page.inner_text(".running")

    file.write_text(render(replace(going_on, running="step 2 of 2")), encoding="utf-8")
    seen.page.wait_for_selector("text=step 2 of 2")
    file.write_text(render(hostile_report()), encoding="utf-8")
    seen.page.wait_for_selector(".running", state="detached")
    assert seen.complaints == []
