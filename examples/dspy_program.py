"""A DSPy program around a CLIP classifier, optimised, evaluated and saved like any other."""

import tempfile
from pathlib import Path

import dspy

from ipo_dspy import CLIPPredict, IPOOptimizer, clip_acc, offline_lm, read_folder
from ipo_dspy.demo.world import write_folder


class Sorter(dspy.Module):
    """Sorts a picture, and says whether it is sure."""

    def __init__(self, classnames: tuple[str, ...]) -> None:
        super().__init__()
        self.classify = CLIPPredict(classnames, "demo")

    def forward(self, image: object) -> dspy.Prediction:
        """Classify, and compare the best two classes."""
        found = self.classify(image=image)
        first, second, *_ = found.scores.values()
        return dspy.Prediction(is_sure=first > 2 * second, label=found.label)


def main(work: Path) -> None:
    """Optimise the program's prompt, and evaluate it."""
    classes = ("apple", "boat", "cup", "fish")
    write_folder(
        work / "images", medium="chalk", class_names=classes, per_class=4, seed=7, split="train"
    )
    train, held_out = read_folder(work / "images").split(0.5, seed=0)
    dspy.configure(lm=offline_lm())  # or dspy.LM("openai/gpt-4o-mini")

    best = IPOOptimizer(clip_acc, steps=2, seed=0).compile(
        Sorter(train.classnames), trainset=list(train.examples)
    )
    evaluate = dspy.Evaluate(devset=list(held_out.examples), metric=clip_acc)
    print(best.classify.template, evaluate(best).score)
    best.save(work / "sorter.json")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
