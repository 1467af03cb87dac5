"""What a version says about its knowledge, so that new answers can be treated as the old were."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from configs.command_line import CommandError
from configs.knowledge import Encoder, SourceAnswers
from configs.section import Section
from configs.serving import IdType
from serving.refresh.layout import FORMAT_VERSION, RefreshFolder

Origin = Literal["answers", "vectors", "metadata", "random", "collaborative"]
OF_TEXTS = ("answers", "metadata")
_OF_NOTHING_NEW = ("random", "collaborative")


def made_from(answers: SourceAnswers) -> Origin:
    """What the vectors of a source are made from; a source has one of these settings at most."""
    origins: tuple[Origin, ...] = ("vectors", "metadata", "random", "collaborative")
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
    encoder: dict[str, object] | None = Field(
        None, description="identity of the encoder that made the vectors"
    )
    length_scale: float | None = Field(None, description="of the knowledge prior's kernel, if any")

    @property
    def takes_answers(self) -> bool:
        """Whether texts become knowledge vectors of this source."""
        return self.made_from in OF_TEXTS

    @property
    def takes_vectors(self) -> bool:
        """Whether knowledge vectors that were made elsewhere may join the source's."""
        return self.made_from not in _OF_NOTHING_NEW


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
