"""Answer files that several sources read: which of their records are not the reader's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preprocessing.records.contract import COLLECTIVE


@dataclass(frozen=True)
class AnswerFile:
    """One answer file.

    Attributes:
      order: place in the configuration; the first answer for an entity counts.
      name: how the configuration names it, for people.
      path: absolute path or URL.
      extraction: "individual" or "collective".
      has_both: the file is named under the other extraction, too, and so is read twice.
    """

    order: int
    name: str
    path: str
    extraction: str
    has_both: bool = False


def belongs_elsewhere(
    record: Mapping[str, object] | None, file: AnswerFile, other_sources: frozenset[str]
) -> bool:
    """Whether a record is read, or rejected, by someone else.

    Of a file that is read twice, once for each extraction, every line is in charge of one reading:
    what does not say that it is collective is the first one's, even if it says nothing at all.

    Args:
      record: the JSON object of a line; None if the line is none.
      file: where it is.
      other_sources: names that records of other sources give their source.
    """
    source = None if record is None else record.get("source")
    if isinstance(source, str) and source in other_sources:
        return True
    extraction = None if record is None else record.get("extraction")
    return file.has_both and (extraction == COLLECTIVE) != (file.extraction == COLLECTIVE)
