"""Plain text of the catalogue in the place of answers: title and attributes of each item.

UniSRec (Hou et al., "Towards Universal Sequence Representation Learning for Recommender Systems",
KDD 2022) encodes such texts; here they show what an LLM's answers add to them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from configs.loading import ConfigurationError
from configs.raw_data import Catalogue
from preprocessing import storage
from preprocessing.dead_letter_runs import DeadLetterRuns
from preprocessing.dead_letters import dead_letter
from preprocessing.interactions.catalogue import TITLE, collect_items, parse_catalogue
from preprocessing.interactions.first_rows import FILE, LINE
from preprocessing.knowledge.accepting import (
    LocatedAnswer,
    accepted_file,
    entity_shard,
    write_accepted,
)
from preprocessing.prompting.attribute_texts import attribute_texts
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.tables.table_reader import TableReader

_ENDS_A_SENTENCE = (".", "!", "?")


def described_by(catalogue: Catalogue, names: Sequence[str], key: str) -> Catalogue:
    """The catalogue with those attributes alone that the texts are made of.

    Args:
      catalogue: configuration of the catalogue.
      names: 'title' and names of attributes.
      key: configuration key of the names, for the error message.

    Raises:
      ConfigurationError: there is no attribute of a name.
    """
    known = [TITLE, *catalogue.attributes]
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{key}: there is no attribute '{name}' in data.catalogue.attributes. Did you mean "
                f"'{nearest}'? (there: {', '.join(known)})"
            )
    attributes = {name: catalogue.attributes[name] for name in names if name != TITLE}
    return catalogue.model_copy(update={"attributes": attributes})


def metadata_texts(table: pa.Table, names: Sequence[str]) -> Iterator[str]:
    """Text of each item, such as "Toy Story (1995). genres: Animation, Children".

    Args:
      table: rows of a parsed catalogue.
      names: 'title' and names of attributes, in the order of the text.

    Yields:
      The text on one line; empty when the item has neither title nor any of the attributes.
    """
    columns = {
        name: table[TITLE].to_pylist() if name == TITLE else attribute_texts(table[name])
        for name in names
    }
    for values in zip(*columns.values(), strict=True):
        one_line = (" ".join(value.split()) for value in values)
        yield _joined(
            value if name == TITLE else f"{name}: {value}"
            for name, value in zip(columns, one_line, strict=True)
            if value
        )


def accept_metadata(
    catalogue: Catalogue,
    reader: TableReader,
    names: Sequence[str],
    shards: int,
    folder: str,
    dead_letters_path: str,
) -> list[dict[str, Any]]:
    """Writes the texts as accepted answers, to be encoded as those of an LLM are.

    The catalogue is read in this process, and its texts are in memory.

    Args:
      catalogue: its attributes are those that the texts are made of.
      reader: reads the catalogue.
      names: 'title' and names of attributes, in the order of the text.
      shards: number of files of accepted answers.
      folder: where those files belong; a path or URL that all workers see.
      dead_letters_path: JSON lines file for rejected rows.

    Returns:
      Counts "read" and "accepted".
    """
    letters = DeadLetterRuns(storage.join(folder, "metadata.runs"))
    tables, read = [], 0
    for block in reader.read():
        table, rejected = parse_catalogue(block, catalogue)
        tables.append(table)
        letters.add(rejected)
        read += block.records
    items = collect_items(tables, catalogue, reader.names)
    letters.add(items.dead_letters)
    by_shard: list[list[LocatedAnswer]] = [[] for _ in range(shards)]
    places = zip(items.table[FILE].to_pylist(), items.table[LINE].to_pylist(), strict=True)
    texts = metadata_texts(items.table, names)
    for item, text, (file, line) in zip(items.ids, texts, places, strict=True):
        if not text:
            detail = f"the item has nothing under {', '.join(names)}"
            letters.add([dead_letter(reader.names[file], line, "no_metadata", detail)])
            continue
        answer = LocatedAnswer(INDIVIDUAL, item, file, line, reader.names[file], text)
        by_shard[entity_shard(item, shards)].append(answer)
    letters.write(dead_letters_path)
    for shard, answers in enumerate(by_shard):
        write_accepted(accepted_file(folder, shard), sorted(answers))
    return [{"read": read, "accepted": sum(map(len, by_shard))}]


def _joined(parts: Iterable[str]) -> str:
    text = ""
    for part in parts:
        space = " " if text.endswith(_ENDS_A_SENTENCE) else ". "
        text += f"{space}{part}" if text else part
    return text
