"""The poster's ablations, each beside the poster's figures.

python -m benchmarks.ablations llms --root DATA --clip open_clip:ViT-B-16-quickgelu/openai
--image-model hf:openbmb/MiniCPM-V-4.6 --prompt-models hf:microsoft/phi-2 openai/gpt-5.6-terra

Takes the options of benchmarks.base_to_novel, shares its searches, and goes on after a stop as it
does, also with --backend ray. Writes ablation_NAME.json and .md, and for the curve a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from benchmarks.ablations.comparison import COMMAND, Ablation
from benchmarks.ablations.curve import draw_curve
from benchmarks.ablations.variants import (
    descriptions,
    history_lengths,
    image_models,
    prompt_models,
)
from benchmarks.base_to_novel.options import BenchmarkOptions, Names
from ipo_dspy import __version__
from ipo_dspy.terminal.command import run_app

Lengths: TypeAlias = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="")]

app = App(name=f"python -m {COMMAND}", help=__doc__, version=__version__)


@app.command
def llms(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
    prompt_models_: Annotated[Names, Parameter(name="--prompt-models")] = (),
) -> None:
    """Compare models that propose prompts.

    Args:
        run: everything else; --prompt-model plays no part.
        prompt_models_: which models; by default what stands for those of the poster today
            (`ipo-dspy presets`), and 'offline' in the demo.
    """
    Ablation(
        "llms",
        "IPO by the model that proposes",
        ("poster's model", "model here"),
        "prompt_model",
        lambda options: prompt_models(options, prompt_models_),
    ).run(run)


@app.command
def lmms(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
    image_models_: Annotated[Names, Parameter(name="--image-models")] = (),
) -> None:
    """Compare models that describe images.

    Args:
        run: everything else; --image-model plays no part.
        image_models_: which models; by default what stands for those of the poster today
            (`ipo-dspy presets`), and 'vocabulary' in the demo.
    """
    Ablation(
        "lmms",
        "IPO by the model that describes",
        ("poster's model", "model here"),
        "image_model",
        lambda options: image_models(options, image_models_),
    ).run(run)


@app.command(name="descriptions")
def with_and_without_descriptions(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
) -> None:
    """Compare searches without and with descriptions of the images.

    Args:
        run: everything; --image-model describes.
    """
    Ablation(
        "descriptions",
        "IPO without and with image descriptions",
        ("descriptions", "image model here"),
        "image_model",
        descriptions,
    ).run(run)


@app.command
def history(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
    lengths: Lengths = (),
) -> None:
    """Compare how many scored prompts the prompt model is shown.

    Args:
        run: everything else; --history-size plays no part.
        lengths: how many; by default those of the paper, 0 1 5 10 20 50 100.
    """
    Ablation(
        "history",
        "IPO by the length of the history",
        ("history", "prompts shown"),
        "history_size",
        lambda options: history_lengths(options, lengths),
    ).run(run)


@app.command
def curve(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
) -> None:
    """Draw training loss and accuracy over the steps of a search.

    Args:
        run: everything; without --datasets on ImageNet, where it is there.
    """
    draw_curve(run)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with 1 after an error.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    run_app(app, COMMAND, arguments)


if __name__ == "__main__":
    main()
