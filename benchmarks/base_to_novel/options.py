"""The options that the poster's table and its ablations share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Group, Parameter

from benchmarks.provenance import RESULTS
from ipo_dspy.terminal.options import (
    LOCAL,
    SEARCH,
    DescribingOptions,
    EncoderOptions,
    Flag,
    ProposingOptions,
    Whole,
    WholeOrNone,
)

DATA = Group("Data", sort_key=0)
FILES = Group("Files", sort_key=5)

Seeds: TypeAlias = Annotated[tuple[Whole, ...], Parameter(consume_multiple=True, negative="")]
Names: TypeAlias = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class DataOptions:
    """What is classified.

    Attributes:
        root: folder of the benchmark datasets, as `ipo-dspy check-data` reads it.
        datasets: which of them; by default all that are complete there.
        demo: the demo world in the place of datasets; it needs no data.
        shots: training images of each base class.
        seeds: of the few shots and of the proposals.
    """

    root: Path | None = None
    datasets: Names = ()
    demo: Flag = False
    shots: Whole = 1
    seeds: Seeds = (1, 2, 3)


@Parameter(name="*", group=SEARCH)
@dataclass(frozen=True)
class StepOptions:
    """How the search goes on; the defaults are the paper's.

    Attributes:
        steps: steps of the search.
        prompts_per_step: proposals of a step, each a call of its own.
        history_size: how many scored prompts the prompt model is shown.
        class_texts: most texts that describe each class, behind IPO's best prompt; 0 asks for none.
    """

    steps: Whole = 100
    prompts_per_step: Whole = 5
    history_size: Whole = 20
    class_texts: Whole = 0


@Parameter(name="*", group=SEARCH)
@dataclass(frozen=True)
class MethodOptions:
    """What is compared.

    Attributes:
        methods: rows of the poster's table: CLIP, CoOp, CoCoOp, MaPLe, PromptSRC, CoPrompt, IPO;
            with texts for each class CuPL, DCLIP, WaffleCLIP.
        epochs: of the gradient learners; by default those of their authors.
    """

    methods: Names = ("CLIP", "IPO")
    epochs: WholeOrNone = None


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class TransferOptions:
    """Training on one data set and testing on others, in the place of base and novel classes.

    Attributes:
        source: what all methods are trained on, all its classes; in the demo a medium.
        targets: what they are tested on: other data sets, or variants of ImageNet; in the demo
            media.
    """

    source: str | None = None
    targets: Names = ()


@Parameter(name="*", group=FILES)
@dataclass(frozen=True)
class FileOptions:
    """Where files go.

    Attributes:
        out: folder of the results.
        runs: folder of the single searches, by which a stopped command goes on.
    """

    out: Path = RESULTS
    runs: Path = Path("runs/base_to_novel")


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkOptions:
    """Everything that decides the figures, and where they go."""

    data: DataOptions = DataOptions()
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    proposing: ProposingOptions = field(default_factory=ProposingOptions)
    describing: DescribingOptions = field(default_factory=DescribingOptions)
    search: StepOptions = StepOptions()
    compared: MethodOptions = MethodOptions()
    transfer: TransferOptions = TransferOptions()
    files: FileOptions = FileOptions()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the figures, for the results file; an address may hold a password."""
        groups = (
            self.data,
            self.encoder,
            self.proposing,
            self.describing,
            self.search,
            self.compared,
            self.transfer,
        )
        named = {name: value for group in groups for name, value in asdict(group).items()}
        left_out = {"root", "api_base", "backend", "address"}
        return {name: value for name, value in named.items() if name not in left_out}

    @property
    def elsewhere(self) -> BenchmarkOptions:
        """The same for another process, which finds the files and embeds by itself."""
        root = None if self.data.root is None else self.data.root.absolute()
        return replace(
            self,
            data=replace(self.data, root=root),
            encoder=replace(self.encoder, backend=LOCAL, address=None),
            files=replace(self.files, runs=self.files.runs.absolute()),
        )

    def file(self, name: str, suffix: str) -> Path:
        """Name a results file; those of the demo or of more shots never take others' place."""
        demo = "_demo" if self.data.demo else ""
        shots = f"_{self.data.shots}_shots" if self.data.shots > 1 else ""
        return self.files.out / f"{name}{demo}{shots}{suffix}"
