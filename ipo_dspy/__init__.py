"""Interpretable prompt optimization for CLIP, as a DSPy optimizer.

torch, open_clip and transformers load on first use, not on import.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("ipo-dspy")

from ipo_dspy.budget import Budget
from ipo_dspy.data import LabeledImages, read_folder
from ipo_dspy.describer import FileDescriber, LMDescriber, NoDescriber, VocabularyDescriber
from ipo_dspy.encoders import Encoder, load_encoder
from ipo_dspy.engines.offline import offline_lm
from ipo_dspy.metrics import clip_acc, clip_prob
from ipo_dspy.optimizer import IPOOptimizer
from ipo_dspy.program import CLIPClassifier, CLIPPredict
from ipo_dspy.proposer import Proposer
from ipo_dspy.records import Score, ScoredPrompt, Trial
from ipo_dspy.signatures import MetaPrompt, ProposePrompt
from ipo_dspy.template import Template

__all__ = [
    "Budget",
    "CLIPClassifier",
    "CLIPPredict",
    "Encoder",
    "FileDescriber",
    "IPOOptimizer",
    "LMDescriber",
    "LabeledImages",
    "MetaPrompt",
    "NoDescriber",
    "ProposePrompt",
    "Proposer",
    "Score",
    "ScoredPrompt",
    "Template",
    "Trial",
    "VocabularyDescriber",
    "__version__",
    "clip_acc",
    "clip_prob",
    "load_encoder",
    "offline_lm",
    "read_folder",
]
