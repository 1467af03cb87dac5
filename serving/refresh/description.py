"""What a version keeps for a refresh, and where: descriptions, methods, summed tables."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from configs.command_line import CommandError
from configs.knowledge import Encoder, Links, SourceAnswers
from configs.section import Section
from configs.serving import IdType
from models.match import KnowledgeMatch, MatchMethod
from models.match.tables import Reduction, widened
from models.prior import PriorPrediction

FORMAT_VERSION: Final = 1
ASSETS = "assets.extra"


@dataclass(frozen=True)
class RefreshFolder:
    """Paths of a version's parts.

    Attributes:
      version_folder: the version.
    """

    version_folder: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.version_folder / ASSETS / "refresh"

    @property
    def description(self) -> Path:
        """Sources, encoder, kinds of tables: JSON."""
        return self.path / "refresh.json"

    @property
    def functions(self) -> Path:
        """A SavedModel."""
        return self.path / "functions"

    def source(self, source: str) -> Path:
        """Folder of a source."""
        return self.path / "sources" / source

    def encoder(self, source: str) -> Path:
        """Folder of an encoder that was fitted on a source."""
        return self.source(source) / "encoder"


Origin = Literal["answers", "links", "vectors", "metadata", "random", "collaborative"]
TEXT_ORIGINS = ("answers", "metadata")
_FIXED_ORIGINS = ("random", "collaborative")


def made_from(answers: SourceAnswers) -> Origin:
    """What the vectors of a source are made from; a source has one of these settings at most."""
    origins: tuple[Origin, ...] = ("links", "vectors", "metadata", "random", "collaborative")
    return next((name for name in origins if getattr(answers, name)), "answers")


class SourceDescription(Section):
    """One knowledge source of the model."""

    entity: Literal["item", "user"]
    made_from: Origin
    dimension: int = Field(description="width of the knowledge vectors")
    factor: str | None = Field(None, description="field of structured answers that is encoded")
    history_entry_pattern: str | None = Field(
        None, description="matches interactions in a prompt, where the history is encoded too"
    )
    links: Links | None = Field(None, description="how names in answers become links, if they do")
    encoder: dict[str, object] | None = Field(
        None, description="identity of the encoder that made the vectors"
    )
    length_scale: float | None = Field(None, description="of the knowledge prior's kernel, if any")

    @property
    def takes_answers(self) -> bool:
        """Whether answers, or texts in their place, become knowledge vectors of this source."""
        return self.made_from in (*TEXT_ORIGINS, "links")

    @property
    def takes_vectors(self) -> bool:
        """Whether knowledge vectors that were made elsewhere may join the source's."""
        return self.made_from not in _FIXED_ORIGINS


class RefreshDescription(Section):
    """Everything about a version's knowledge that is not an array."""

    format_version: Literal[1] = FORMAT_VERSION
    id_type: IdType = "string"
    encoder: Encoder
    sources: dict[str, SourceDescription] = Field(description="in the model's order")
    replaced_id_sources: tuple[str, ...] = Field((), description="knowledge in place of item ids")
    retrieved_sources: tuple[str, ...] = Field(
        (), description="item sources of a retrieval model's stored item vectors"
    )
    prior_sources: tuple[str, ...] = Field((), description="in the order of the item's numbers")
    is_retrieval: bool = Field(False, description="whether vectors of items are stored")
    match_history_length: int | None = Field(
        None, description="newest interactions that the match reads; earlier exports have none"
    )
    num_exported_items: int = Field(description="items of the run, to which others were added")

    def write(self, folder: RefreshFolder) -> None:
        """Writes the description's file."""
        folder.description.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_description(version_folder: Path) -> RefreshDescription:
    """Reads the description of a version.

    Raises:
      CommandError: the version has none, or one of another version of the code.
    """
    path = RefreshFolder(version_folder).description
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path} is missing: the version was exported without what a refresh needs, by an "
            "earlier version of the code; export again with 'python -m serving export'"
        ) from error
    try:
        return RefreshDescription.model_validate_json(text)
    except ValidationError as error:
        raise CommandError(
            f"{path} is damaged, or of another version of the code ({error.error_count()} fields "
            "are wrong); export again with 'python -m serving export'"
        ) from error


PROJECTED, AUGMENTED = "projected.npy", "augmented.npy"
"""What a source adds to the vectors in the place of item ids; its augmented vectors."""


def write_source_table(folder: Path, name: str, table: np.ndarray) -> None:
    """Writes a table, float32 [rows, width], into a source's folder."""
    np.save(folder / name, table, allow_pickle=False)


def read_source_table(folder: Path, name: str) -> np.ndarray:
    """Reads a table of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    try:
        return np.load(folder / name, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(
            f"{folder / name} cannot be read ({error}); copy the version folder anew, or export "
            "again"
        ) from error


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
        """That of a model's match, its parameters as they are now."""
        return cls(match.trained_method, match.reduction, match.sizes.width)

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
