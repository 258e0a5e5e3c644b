"""The training of a prompted model: steps and epochs, resumed between these."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ipo_dspy.encoders.device import autocast
from ipo_dspy.encoders.parallel import threads_for
from ipo_dspy.errors import TrainingError
from ipo_dspy.features.image_batches import ahead
from ipo_dspy.images.image import ImageSource, open_image
from ipo_dspy.optimizers.checkpoint import Epoch, Progress
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe
from ipo_dspy.optimizers.views import Views

logger = logging.getLogger(__name__)

_IMAGES_AT_ONCE = 64
_BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Training:
    """Trains a model in place.

    Attributes:
        model: what is trained.
        recipe: how.
        images: on what, N of them.
        labels: their class indices.
        views: what a step sees of an image.
        seed: of the order of images.
        precision: of the towers.
        average: how epochs are averaged in the end; None keeps the last.
        checkpoint: file that holds the state between epochs; None keeps it nowhere.
        seconds: after so many the training ends, with what is learned by then.
        progress: whether a bar is shown; None shows it on a terminal.
        on_epoch: called with every finished epoch.
    """

    model: PromptedModel
    recipe: Recipe
    images: Sequence[ImageSource]
    labels: Sequence[int]
    views: Views
    seed: int = 0
    precision: str = "float32"
    average: GaussianAverage | None = None
    checkpoint: Path | None = None
    seconds: float | None = None
    progress: bool | None = None
    on_epoch: Callable[[Epoch], None] | None = None

    def run(self) -> tuple[tuple[Epoch, ...], str]:
        """Train to the end, from the checkpoint where there is one.

        Returns:
            The finished epochs, and what ended the training.

        Raises:
            TrainingError: the loss is not finite, or the checkpoint cannot be used.
            UnreadableImage: an image cannot be read.
        """
        with threads_for(self._multiplications):
            return self._run()

    @property
    def _multiplications(self) -> int:
        """About how many one pass of the texts takes."""
        tower, texts = self.model.towers.text, self.model.texts.tokens
        return 12 * tower.width**2 * tower.depth * texts.numel()

    def _run(self) -> tuple[tuple[Epoch, ...], str]:
        started = time.monotonic()
        state = Progress.of(self.model, self.recipe, self.average)
        if self.checkpoint is not None:
            state.read(self.checkpoint)
        done, steps = len(state.epochs), self.recipe.steps_per_epoch(len(self.images))
        hide = None if self.progress is None else not self.progress
        total = steps * self.recipe.epochs
        ended_by = f"epochs: {self.recipe.epochs} made"
        with tqdm(total=total, initial=steps * done, disable=hide, unit="step") as bar:
            for number in range(done + 1, self.recipe.epochs + 1):
                until = None if self.seconds is None else started + self.seconds
                epoch = self._train(number, state.optimizer, until, bar)
                if epoch is None:
                    ended_by = f"seconds: {self.seconds:g} used"
                    break
                state.finish(epoch)
                if self.checkpoint is not None:
                    state.write(self.checkpoint)
                self._tell(epoch)
        state.use_average()
        return tuple(state.epochs), ended_by

    def _train(
        self, number: int, optimizer: torch.optim.SGD, until: float | None, bar: tqdm[None]
    ) -> Epoch | None:
        """Train for one epoch; None where time was up before its end."""
        began, lr = time.monotonic(), self.recipe.lr_in(number)
        for group in optimizer.param_groups:
            group["lr"] = lr
        batches = self.recipe.batches(len(self.images), number, self.seed)
        loss_sum, hits, seen = 0.0, 0, 0
        for index, (batch, views) in enumerate(self._with_views(batches, number)):
            if until is not None and time.monotonic() >= until:
                return None
            self.model.step = (number - 1) * len(batches) + index
            loss, right = self._step(batch, views, optimizer)
            loss_sum, hits, seen = loss_sum + loss, hits + right, seen + len(batch)
            bar.set_postfix_str(
                f"loss {loss_sum / (index + 1):.3f}, {100 * hits / seen:.1f} %", refresh=False
            )
            bar.update()
        return Epoch(
            epoch=number,
            loss=loss_sum / len(batches),
            accuracy=100 * hits / seen,
            lr=lr,
            seconds=time.monotonic() - began,
        )

    def _step(
        self, batch: Sequence[int], views: Sequence[Tensor], optimizer: torch.optim.SGD
    ) -> tuple[float, int]:
        """Make one step: its loss, and how many images were classified rightly."""
        model, labels = self.model, self._labels[batch]
        with autocast(model.towers.device, self.precision):
            plain = model.image_tower_is_plain
            features = self._plain(batch, views) if plain else model.image_features(views[0])
            teacher = None if model.teacher == "none" else self._plain(batch, views[-1:])
            loss, logits = model.outcome(features, labels, teacher)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss of step {model.step + 1} is {value}, so nothing more can be learned. "
                "Take a lower lr, or precision='float32', and check the images."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return value, int((logits.argmax(dim=1) == labels).sum())

    def _tell(self, epoch: Epoch) -> None:
        logger.info(
            "epoch %d of %d: loss %.4f, accuracy %.2f, about %.0f s left",
            epoch.epoch,
            self.recipe.epochs,
            epoch.loss,
            epoch.accuracy,
            epoch.seconds * (self.recipe.epochs - epoch.epoch),
        )
        if self.on_epoch is not None:
            self.on_epoch(epoch)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.tensor(self.labels, device=self.model.towers.device)

    def _plain(self, batch: Sequence[int], views: Sequence[Tensor]) -> Tensor:
        """Features of the frozen tower: [B, D]."""
        if self._fixed_features is not None:
            return self._fixed_features[batch]
        return self.model.plain_image_features(views[0])

    @cached_property
    def _fixed_features(self) -> Tensor | None:
        """Features of the frozen tower, [N, D], where the view of an image never changes."""
        if self.views.augmentation != "none":
            return None
        every = range(len(self.images))
        batches = [every[start : start + _IMAGES_AT_ONCE] for start in every[::_IMAGES_AT_ONCE]]
        return torch.cat(
            [self.model.plain_image_features(views[0]) for _, views in self._prepare(batches, 1)]
        )

    def _with_views(
        self, batches: Sequence[Sequence[int]], epoch: int
    ) -> Iterable[tuple[Sequence[int], Sequence[Tensor]]]:
        """What the steps see: [B, 3, S, S], once or twice, or nothing where features are known."""
        if self.model.image_tower_is_plain and self._fixed_features is not None:
            return [(batch, ()) for batch in batches]
        return self._prepare(batches, epoch)

    def _prepare(
        self, batches: Sequence[Sequence[int]], epoch: int
    ) -> Iterator[tuple[Sequence[int], Sequence[Tensor]]]:
        """Prepare views in threads, some batches ahead of the steps."""
        numbers = range(2 if self.model.teacher == "second view" else 1)

        def prepare(batch: Sequence[int]) -> tuple[Sequence[int], list[Tensor]]:
            images = [(index, open_image(self.images[index])) for index in batch]
            return batch, [
                torch.stack([self.views.view(image, index, epoch, n) for index, image in images])
                for n in numbers
            ]

        for batch, views in ahead(prepare, batches, most=_BATCHES_AHEAD):
            yield batch, [view.to(self.model.towers.device) for view in views]
