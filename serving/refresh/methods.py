"""The frozen numbers by which a source's knowledge vectors become rows of match and prior."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from configs.command_line import CommandError
from models.match import KnowledgeMatch, MatchMethod
from models.match.tables import Reduction, widened
from models.prior import PriorPrediction

_MATCH, _METHOD, _PRIOR = "match.npz", "match.json", "prior.npz"


@dataclass(frozen=True)
class MatchReduction:
    """A match's reduction with all that it needs.

    Attributes:
      method: what the rows are for.
      reduction: centre and basis.
      width: of the table.
    """

    method: MatchMethod
    reduction: Reduction
    width: int

    @classmethod
    def of_match(cls, match: KnowledgeMatch) -> MatchReduction:
        """That of a model's match."""
        return cls(match.method, match.reduction, match.sizes.width)

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """Table rows of knowledge vectors: [n, vector width] -> float32 [n, width]."""
        return widened(self.reduction.apply(self.method, vectors), self.width)

    def write(self, folder: Path) -> None:
        """Writes the files of a source's folder."""
        np.savez(folder / _MATCH, centre=self.reduction.centre, basis=self.reduction.basis)
        method = {**asdict(self.method), "width": self.width}
        (folder / _METHOD).write_text(json.dumps(method) + "\n", encoding="utf-8")


def read_match(folder: Path) -> MatchReduction:
    """Reads the files of a source's folder.

    Raises:
      CommandError: they are missing or damaged.
    """
    arrays = _read(folder / _MATCH, ("centre", "basis"))
    try:
        method = json.loads((folder / _METHOD).read_text(encoding="utf-8"))
        width = method.pop("width")
        return MatchReduction(MatchMethod(**method), Reduction(*arrays), width)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / _METHOD, error) from error


def write_prior(folder: Path, prediction: PriorPrediction) -> None:
    """Writes the file of a source's folder."""
    np.savez(
        folder / _PRIOR,
        centre=prediction.centre,
        landmarks=prediction.landmarks,
        coefficients=prediction.coefficients,
    )


def read_prior(folder: Path, length_scale: float) -> PriorPrediction:
    """Reads the file of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    names = ("centre", "landmarks", "coefficients")
    centre, landmarks, coefficients = _read(folder / _PRIOR, names)
    return PriorPrediction(centre, landmarks, coefficients, length_scale)


def _read(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CommandError:
    return CommandError(
        f"{path} cannot be read ({error}); copy the version folder anew, or export again"
    )
