"""How far a training has come."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from trainer.metrics import AnyMetrics


@dataclass
class TrainingState:
    """What a training must remember, beside its variables, to go on after an interruption.

    Attributes:
      epoch: the epoch that is being trained, from 0.
      step: its finished steps.
      loss_sum: sum of the losses of those steps.
      losses: how many they are; fewer than `step` where several steps run in one call.
      rows: one dictionary for every finished epoch, for history.csv.
      best: all validation metrics of the best epoch; None before the first one has ended.
      best_epoch: counted from 1.
      selection_metric: by which epochs are compared.
      seconds: wall time of training and validation so far, interruptions left out.
      is_finished: whether the last epoch has ended.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    losses: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best: AnyMetrics | None = None
    best_epoch: int = 0
    selection_metric: str = ""
    seconds: float = 0.0
    is_finished: bool = False

    def start_epoch(self, epoch: int) -> None:
        """Begins an epoch at its first step."""
        self.epoch, self.step = epoch, 0
        self.loss_sum, self.losses = 0.0, 0

    @property
    def mean_loss(self) -> float:
        """Of the steps of this epoch."""
        return self.loss_sum / max(self.losses, 1)

    def to_json(self) -> str:
        """All attributes; floats come back as they were."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """What `to_json` gave."""
        return cls(**json.loads(text))
