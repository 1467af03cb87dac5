"""What the pipelines of the step `examples` need to know."""

from __future__ import annotations

from dataclasses import dataclass

from configs.knowledge import Knowledge
from configs.raw_data import Data, Split
from preprocessing.tables.table_reader import TableReader


@dataclass(frozen=True)
class ExamplesPlan:
    """Everything the pipelines need to know; it travels to all workers.

    Attributes:
      data: configuration of the data.
      split: configuration of the split.
      knowledge: where the answers are whose prompts are counted.
      interactions: reads the log.
      catalogue: reads the catalogue.
      profiles: reads the profiles, if there are any.
      shards: number of TFRecord files per part, and of pieces the users are divided into.
      folder: where everything is written, an absolute path or URL that all workers see.
    """

    data: Data
    split: Split
    knowledge: Knowledge
    interactions: TableReader
    catalogue: TableReader
    profiles: TableReader | None
    shards: int
    folder: str
