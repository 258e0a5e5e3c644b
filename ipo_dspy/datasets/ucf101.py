"""UCF101: 101 human actions, as the middle frame of each clip; the first official partition.

Class names are split at capitals (`Apply_Eye_Makeup`), labels those of `classInd.txt`.
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import linked_part, split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_UCF101.json"

UCF101 = Benchmark(
    name="UCF101",
    folder="ucf101",
    images="UCF-101-midframes",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a person doing {}."),
    counts=Counts(classes=101, train=7_639, val=1_898, test=3_783),
    parts=(
        linked_part("UCF-101-midframes", "UCF-101-midframes.zip (middle frames of the clips)"),
        split_part(_SPLIT),
    ),
    base=Half(images=1_934, correct=1_364),
    novel=Half(images=1_849, correct=1_433),
)
