"""The result of a proof, for people, for the manifest and for the model card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from configs.command_line import CommandError
from serving.json_numbers import finite
from serving.proof.quality import Quality

_SHOWN_FAILURES = 10


class ProofError(CommandError):
    """An export does not score as its checkpoint does."""


@dataclass(frozen=True)
class Failure:
    """One thing that a proof found wrong.

    Attributes:
      way: how the export was loaded and asked; "" where it was not.
      signature: what was asked; "" where the export could not be loaded at all.
      text: which sample differs by how much.
    """

    way: str
    signature: str
    text: str

    def __str__(self) -> str:
        """One line for people."""
        return ", ".join(part for part in (self.way, self.signature, self.text) if part)


Differences = dict[str, dict[str, float]]
"""Way -> signature -> largest difference of a score."""


@dataclass(frozen=True)
class Proof:
    """What was asked and how far the answers were from what they should be.

    Attributes:
      number_format: of the stored vectors.
      id_type: of the ids in requests: string or int64.
      extent: full or quick.
      examples: validation examples that were asked.
      edge_cases: names of the further rows.
      bound: largest difference from the checkpoint that is allowed, for scores between 0 and 1.
      bound_between_loaders: the same between two ways to ask the same SavedModel.
      to_checkpoint: largest differences from the checkpoint.
      between_loaders: largest differences from the SavedModel in Python.
      quality: what checkpoint and export are worth; None where the export could not be loaded.
      failures: empty where the proof holds.
      seconds: wall time of the proof.
    """

    number_format: str
    id_type: str
    extent: str
    examples: int
    edge_cases: tuple[str, ...]
    bound: float
    bound_between_loaders: float
    to_checkpoint: Differences
    between_loaders: Differences
    quality: Quality | None
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def largest_difference(self) -> float:
        """Largest difference from the checkpoint on any way, of any signature."""
        return max(max(of_way.values(), default=0) for of_way in self.to_checkpoint.values())

    def require(self) -> None:
        """Makes sure that the proof holds.

        Raises:
          ProofError: it does not; the message says on which way, of which signature and sample.
        """
        if not self.failures:
            return
        lines = [f"  {failure}" for failure in self.failures[:_SHOWN_FAILURES]]
        if len(self.failures) > len(lines):
            lines.append(f"  ... and {len(self.failures) - len(lines)} more")
        raise ProofError(
            "the export does not score as its checkpoint does, so nothing is published:\n"
            + "\n".join(lines)
        )

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON values; what is not a number or infinite is null."""
        tree = asdict(self)
        tree["edge_cases"] = list(self.edge_cases)
        tree["failures"] = [asdict(failure) for failure in self.failures]
        tree["seconds"] = round(self.seconds, 2)
        if self.quality is not None:
            tree["quality"]["cost"] = self.quality.cost
        return finite(tree)

    def summary(self) -> str:
        """One line for people."""
        ways = ", ".join(self.to_checkpoint)
        text = (
            f"proof ({ways}): {self.examples} validation examples and {len(self.edge_cases)} edge "
            f"cases, largest difference from the checkpoint {self.largest_difference:.2g} (allowed "
            f"{self.bound:g} in {self.number_format})"
        )
        if self.quality is None:
            return text
        quality = self.quality
        return (
            f"{text}; {quality.metric} on {quality.rows:,} validation rows "
            f"{quality.checkpoint:.6f} in the checkpoint, {quality.export:.6f} in the export"
        )
