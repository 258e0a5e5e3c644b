"""The loop of IPO to read from top to bottom: what the package does, without what makes it robust.

    python docs/loop.py

Images are encoded once. A prompt model sees a meta-prompt, descriptions of the images and the best
templates so far with their scores, and writes new templates; each is checked, scored and
remembered. The package adds a journal, budgets, many calls at a time, strategies, other programs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import dspy
import torch
from PIL.Image import Image

from ipo_dspy import Encoder, ProposePrompt, ScoredPrompt, load_encoder, offline_lm, read_folder
from ipo_dspy.demo.world import BASE_CLASSES, DEMO_MEDIUM, write_folder
from ipo_dspy.images import open_image

META_PROMPT = """Images are classified by comparing them with texts. <CLASS> stands for the name of
a class. Write one short caption with <CLASS> exactly once that differs from all in the history, has
a higher accuracy and a lower loss than they have, and fits all classes."""


@dataclass(frozen=True)
class Trial:
    """A template and how good it is on the training images."""

    template: str
    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher accuracy first, then lower loss (paper, section 3.2)."""
        return (self.accuracy, -self.loss)


class Scorer:
    """Scores templates: fill in the class names, encode, compare with the images."""

    def __init__(
        self, encoder: Encoder, images: list[Image], labels: list[int], classnames: Sequence[str]
    ) -> None:
        self.encoder, self.classnames = encoder, classnames
        self.labels = torch.tensor(labels)
        self.features = encoder.encode_images(images)  # [N, D], unit length, once

    def score(self, template: str) -> Trial:
        """Classify all images with one template."""
        texts = [template.replace("<CLASS>", name) for name in self.classnames]
        logits = self.encoder.logits(self.features, self.encoder.encode_texts(texts))  # [N, C]
        accuracy = 100 * (logits.argmax(dim=1) == self.labels).float().mean().item()
        loss = torch.nn.functional.cross_entropy(logits, self.labels).item()
        return Trial(template, accuracy, loss)


@dataclass
class Search:
    """Proposes from the history, scores, remembers."""

    scorer: Scorer
    descriptions: Sequence[str] = ()
    history_size: int = 20
    trials: list[Trial] = field(default_factory=list)

    def run(self, initial: str, steps: int, prompts_per_step: int) -> Trial:
        """Search; gives the best trial."""
        self.trials.append(self.scorer.score(initial))
        for step in range(steps):
            # All proposals of a step are made from the same history (paper, algorithm 1).
            proposals = [self.propose(step, slot) for slot in range(prompts_per_step)]
            for template in proposals:
                if self.is_candidate(template):
                    self.trials.append(self.scorer.score(template))
        return self.best

    @property
    def best(self) -> Trial:
        """The trial that ranks highest; of equals the first."""
        return max(self.trials, key=lambda trial: trial.rank)

    def propose(self, step: int, slot: int) -> str:
        """Ask the prompt model, showing the best templates, worst first and best last."""
        shown = sorted(self.trials, key=lambda trial: trial.rank)[-self.history_size :]
        answer = dspy.Predict(ProposePrompt)(
            meta_prompt=META_PROMPT,
            image_descriptions=list(self.descriptions),
            scored_history=[
                ScoredPrompt(prompt=t.template, loss=t.loss, accuracy=t.accuracy) for t in shown
            ],
            # Equal requests are different calls, not one cached answer.
            config={"rollout_id": 1 + 100 * step + slot, "temperature": 1.0},
        )
        return str(answer.prompt).strip()

    def is_candidate(self, template: str) -> bool:
        """One line, the slot exactly once, not tried before, and short enough for the encoder."""
        if template.count("<CLASS>") != 1 or "\n" in template:
            return False
        if any(trial.template == template for trial in self.trials):
            return False
        texts = [template.replace("<CLASS>", name) for name in self.scorer.classnames]
        return max(self.scorer.encoder.count_tokens(texts)) <= self.scorer.encoder.context_length


def main(steps: int = 10) -> Search:
    """Search on the demo world, with the offline proposer in the place of a language model."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, medium=DEMO_MEDIUM, class_names=BASE_CLASSES, per_class=1, seed=0,
                     split="train")  # fmt: skip
        images = read_folder(folder)
        pictures = [open_image(example.image) for example in images.examples]
    labels = [images.classnames.index(example.label) for example in images.examples]
    search = Search(Scorer(load_encoder("demo"), pictures, labels, images.classnames))
    with dspy.context(lm=offline_lm()):
        search.run("a photo of a <CLASS>.", steps, prompts_per_step=5)
    return search


if __name__ == "__main__":
    found = main()
    for trial in sorted(found.trials, key=lambda trial: trial.rank)[-5:]:
        sys.stdout.write(f"{trial.accuracy:6.2f}  {trial.loss:.3f}  {trial.template}\n")
