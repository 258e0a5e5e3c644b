"""The public names, and where each of them is; `__init__.py` loads them on first use."""

from .demo.proposer.offline import (
    offline_lm as offline_lm,
)
from .encoders import (
    Encoder as Encoder,
)
from .encoders import (
    load_encoder as load_encoder,
)
from .errors import (
    ArgumentError as ArgumentError,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    EncoderError as EncoderError,
)
from .errors import (
    EvaluationError as EvaluationError,
)
from .errors import (
    InvalidTemplateError as InvalidTemplateError,
)
from .errors import (
    IPOError as IPOError,
)
from .errors import (
    JournalError as JournalError,
)
from .errors import (
    LabelError as LabelError,
)
from .errors import (
    MetricError as MetricError,
)
from .errors import (
    OutOfTimeError as OutOfTimeError,
)
from .errors import (
    RefusedError as RefusedError,
)
from .errors import (
    SearchStoppedError as SearchStoppedError,
)
from .errors import (
    StorageError as StorageError,
)
from .errors import (
    TrainingError as TrainingError,
)
from .errors import (
    UnknownIdentityError as UnknownIdentityError,
)
from .errors import (
    UnknownNameError as UnknownNameError,
)
from .errors import (
    UnreadableImage as UnreadableImage,
)
from .exports.labels import (
    write_labels as write_labels,
)
from .exports.reporting import (
    LiveReport as LiveReport,
)
from .exports.reporting import (
    write_report as write_report,
)
from .images import (
    LabeledImages as LabeledImages,
)
from .images import (
    read_dataset as read_dataset,
)
from .images import (
    read_folder as read_folder,
)
from .images import (
    read_table as read_table,
)
from .images.unlabelled import (
    find_images as find_images,
)
from .optimizers.cocoop import (
    CoCoOp as CoCoOp,
)
from .optimizers.coop import (
    CoOp as CoOp,
)
from .optimizers.coprompt import (
    CoPrompt as CoPrompt,
)
from .optimizers.ipo import (
    IPOOptimizer as IPOOptimizer,
)
from .optimizers.maple import (
    MaPLe as MaPLe,
)
from .optimizers.promptsrc import (
    PromptSRC as PromptSRC,
)
from .programs.classifier import (
    CLIPClassifier as CLIPClassifier,
)
from .programs.classifier import (
    CLIPPredict as CLIPPredict,
)
from .programs.describe import (
    DescribePredict as DescribePredict,
)
from .programs.labelling import (
    label_images as label_images,
)
from .programs.metrics import (
    clip_acc as clip_acc,
)
from .programs.metrics import (
    clip_prob as clip_prob,
)
from .programs.other_optimizers import (
    MIPROV2_SETTINGS as MIPROV2_SETTINGS,
)
from .programs.other_optimizers import (
    TemplateProposer as TemplateProposer,
)
from .programs.prompt_ensemble import (
    prompt_ensemble as prompt_ensemble,
)
from .programs.tip_adapter import (
    DemoCache as DemoCache,
)
from .programs.tip_adapter import (
    ImageVectorizer as ImageVectorizer,
)
from .programs.tip_adapter import (
    TipAdapter as TipAdapter,
)
from .prompts.template import (
    Template as Template,
)
from .prompts.wording import (
    MetaPrompt as MetaPrompt,
)
from .prompts.wording import (
    ProposePrompt as ProposePrompt,
)
from .proposing.describers import (
    FileDescriber as FileDescriber,
)
from .proposing.describers import (
    LMDescriber as LMDescriber,
)
from .proposing.describers import (
    NoDescriber as NoDescriber,
)
from .proposing.describers import (
    VocabularyDescriber as VocabularyDescriber,
)
from .proposing.proposer import (
    Proposer as Proposer,
)
from .records import (
    Score as Score,
)
from .records import (
    ScoredPrompt as ScoredPrompt,
)
from .records import (
    Trial as Trial,
)
from .runs.budget import (
    Budget as Budget,
)
from .scoring.evaluate import (
    BatchEvaluate as BatchEvaluate,
)

__version__: str
