"""Label photographs: learn from class folders, then label a folder that has no labels.

Draws its own pictures, so that it runs anywhere; use folders of your own in their place.
"""

import tempfile
from pathlib import Path

import ipo_dspy
from ipo_dspy.demo.world import write_folder


def main(work: Path) -> None:
    """Search a prompt, look at it, and label with it."""
    classes = ("apple", "boat", "cup", "fish")
    for folder, split in (("labelled", "train"), ("new", "test")):
        write_folder(
            work / folder, medium="chalk", class_names=classes, per_class=4, seed=7, split=split
        )

    images = ipo_dspy.read_folder(work / "labelled")
    train, held_out = images.split(0.5, seed=0)
    program = ipo_dspy.CLIPClassifier.from_images(train, clip="demo")
    optimizer = ipo_dspy.IPOOptimizer(prompt_model="offline", steps=3, seed=0)
    best = optimizer.compile(program)
    print(best.template)

    ipo_dspy.write_report(best, work / "report.html", held_out)
    best.save(work / "program.json")

    found = ipo_dspy.find_images(work / "new")
    counts = ipo_dspy.write_labels(ipo_dspy.label_images(best, found), work / "labels.csv")
    print(counts)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
