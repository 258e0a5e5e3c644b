"""How far a training is: what is learned, the momentum, the average; written after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ipo_dspy.errors import TrainingError
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe
from ipo_dspy.records import Record
from ipo_dspy.runs.folder import write_whole

_FORMAT = "ipo-dspy-training-1"
_MOMENTUM = "momentum_buffer"


class Epoch(Record):
    """One finished epoch.

    Attributes:
        epoch: its number, from 1.
        loss: mean over its steps.
        accuracy: of its views as they were trained on, in percent.
        lr: its learning rate.
        seconds: it took.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float
    seconds: float


@dataclass
class Progress:
    """The state of a training between two epochs.

    Attributes:
        learned: the parameters, by name.
        optimizer: trains them.
        weights: of the epochs in the average; empty without one.
        epochs: those that are finished.
        sums: the parameters, weighted and added up over the finished epochs.
    """

    learned: Mapping[str, Tensor]
    optimizer: torch.optim.SGD
    weights: list[float]
    epochs: list[Epoch] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: PromptedModel, recipe: Recipe, average: GaussianAverage | None) -> Progress:
        """The state before the first epoch."""
        learned = dict(model.named_parameters())
        optimizer = torch.optim.SGD(
            learned.values(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        return cls(learned, optimizer, average.weights(recipe.epochs) if average else [])

    def finish(self, epoch: Epoch) -> None:
        """Note a finished epoch, and add what is learned to the average."""
        self.epochs.append(epoch)
        if not self.weights:
            return
        weight = self.weights[epoch.epoch - 1]
        for name, tensor in self.learned.items():
            share = weight * tensor.detach()
            self.sums[name] = self.sums[name] + share if name in self.sums else share

    @torch.no_grad()
    def use_average(self) -> None:
        """Put the average over the finished epochs in the place of what was learned last."""
        done = sum(self.weights[: len(self.epochs)])
        if done > 0:
            for name, total in self.sums.items():
                self.learned[name].copy_(total / done)

    def write(self, path: Path) -> None:
        """Write the state and wait until it is on disk; an earlier one is replaced as a whole.

        Raises:
            StorageError: the file cannot be written; the epoch before is kept.
        """
        tensors = {
            f"{kind}/{name}": tensor.detach().cpu().contiguous()
            for kind, named in (
                ("learned", self.learned),
                ("momentum", self._momentum()),
                ("sum", self.sums),
            )
            for name, tensor in named.items()
        }
        epochs = json.dumps([epoch.model_dump() for epoch in self.epochs])
        content = save(tensors, metadata={"format": _FORMAT, "epochs": epochs})
        write_whole(path, lambda unfinished: unfinished.write_bytes(content))

    def read(self, path: Path) -> None:
        """Take over a state that was written; nothing happens where there is none.

        Raises:
            TrainingError: the file cannot be read or belongs to another training.
        """
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            epochs = [Epoch.model_validate(each) for each in json.loads(about["epochs"])]
            self._take(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{path} cannot be read as the checkpoint of this training: {error}. Move it away "
                "to begin anew."
            ) from error
        self.epochs = epochs

    @torch.no_grad()
    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.learned.items():
            parameter.copy_(tensors[f"learned/{name}"])
            momentum = tensors[f"momentum/{name}"].to(parameter.device)
            self.optimizer.state[parameter][_MOMENTUM] = momentum
            if self.weights:
                self.sums[name] = tensors[f"sum/{name}"].to(parameter.device)

    def _momentum(self) -> dict[str, Tensor]:
        return {
            name: self.optimizer.state[parameter][_MOMENTUM]
            for name, parameter in self.learned.items()
        }
