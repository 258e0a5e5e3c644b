"""Interpretable prompt optimization for CLIP, as a DSPy optimizer.

torch, open_clip and transformers load on first use, not on import.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("ipo-dspy")

from ipo_dspy.demo.proposer.offline import offline_lm
from ipo_dspy.encoders import Encoder, load_encoder
from ipo_dspy.errors import (
    ArgumentError,
    DataError,
    EncoderError,
    EvaluationError,
    InvalidTemplateError,
    IPOError,
    JournalError,
    RefusedError,
    SearchStoppedError,
    StorageError,
    TrainingError,
    UnknownNameError,
    UnreadableImage,
)
from ipo_dspy.images import LabeledImages, read_dataset, read_folder, read_table
from ipo_dspy.optimizers.ipo import IPOOptimizer
from ipo_dspy.programs.classifier import CLIPClassifier, CLIPPredict
from ipo_dspy.programs.metrics import clip_acc, clip_prob
from ipo_dspy.programs.other_optimizers import MIPROV2_SETTINGS, TemplateProposer
from ipo_dspy.programs.prompt_ensemble import prompt_ensemble
from ipo_dspy.programs.tip_adapter import ImageVectorizer, TipAdapter
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import MetaPrompt, ProposePrompt
from ipo_dspy.proposing.describers import (
    FileDescriber,
    LMDescriber,
    NoDescriber,
    VocabularyDescriber,
)
from ipo_dspy.proposing.proposer import Proposer
from ipo_dspy.records import Score, ScoredPrompt, Trial
from ipo_dspy.registry import find
from ipo_dspy.runs.budget import Budget
from ipo_dspy.scoring.evaluate import BatchEvaluate

if TYPE_CHECKING:
    from ipo_dspy.optimizers.cocoop import CoCoOp
    from ipo_dspy.optimizers.coop import CoOp
    from ipo_dspy.optimizers.coprompt import CoPrompt
    from ipo_dspy.optimizers.maple import MaPLe
    from ipo_dspy.optimizers.promptsrc import PromptSRC

DemoCache = TipAdapter
"""What `TipAdapter` was called in 0.1."""

__all__ = [
    "MIPROV2_SETTINGS",
    "ArgumentError",
    "BatchEvaluate",
    "Budget",
    "CLIPClassifier",
    "CLIPPredict",
    "CoCoOp",
    "CoOp",
    "CoPrompt",
    "DataError",
    "DemoCache",
    "Encoder",
    "EncoderError",
    "EvaluationError",
    "FileDescriber",
    "IPOError",
    "IPOOptimizer",
    "ImageVectorizer",
    "InvalidTemplateError",
    "JournalError",
    "LMDescriber",
    "LabeledImages",
    "MaPLe",
    "MetaPrompt",
    "NoDescriber",
    "PromptSRC",
    "ProposePrompt",
    "Proposer",
    "RefusedError",
    "Score",
    "ScoredPrompt",
    "SearchStoppedError",
    "StorageError",
    "Template",
    "TemplateProposer",
    "TipAdapter",
    "TrainingError",
    "Trial",
    "UnknownNameError",
    "UnreadableImage",
    "VocabularyDescriber",
    "__version__",
    "clip_acc",
    "clip_prob",
    "load_encoder",
    "offline_lm",
    "prompt_ensemble",
    "read_dataset",
    "read_folder",
    "read_table",
]

_LEARNERS = ("CoCoOp", "CoOp", "CoPrompt", "MaPLe", "PromptSRC")


def __getattr__(name: str) -> Any:
    if name not in _LEARNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find("optimizers", name.lower())
