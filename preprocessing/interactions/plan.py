"""What the pipelines over the log need to know."""

from __future__ import annotations

from dataclasses import dataclass

from configs.knowledge import Knowledge
from configs.raw_data import Data, Split
from preprocessing.interactions.leak_check import PromptCheck
from preprocessing.tables.table_reader import TableReader

_FEWEST_SHARDS = 2


@dataclass(frozen=True)
class LogPlan:
    """What it takes to read the log and to split it; it travels to all workers.

    Attributes:
      data: configuration of the data.
      split: configuration of the split.
      interactions: reads the log.
      shards: number of pieces the users are divided into.
      folder: where everything is written, an absolute path or URL that all workers see.
    """

    data: Data
    split: Split
    interactions: TableReader
    shards: int
    folder: str


@dataclass(frozen=True)
class ExamplesPlan(LogPlan):
    """Everything that the pipelines of the step `examples` need to know.

    Every piece of the users becomes one TFRecord file per part.

    Attributes:
      knowledge: where the answers are whose prompts are looked up.
      prompts: how to look up what they show.
      catalogue: reads the catalogue.
      profiles: reads the profiles, if there are any.
    """

    knowledge: Knowledge
    prompts: PromptCheck
    catalogue: TableReader
    profiles: TableReader | None


def shards_of_log(interactions: TableReader, data: Data) -> int:
    """Into how many pieces users are divided."""
    shard_bytes = data.shard_megabytes << 20
    return max(_FEWEST_SHARDS, -(-interactions.stored_bytes // shard_bytes))
