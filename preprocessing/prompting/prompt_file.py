"""The file of prompts: one JSON object a line, and a table of pseudonyms beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from preprocessing.answers.completion import estimated_tokens
from preprocessing.answers.prompts import JSON_SCHEMA
from preprocessing.answers.record import INTERACTIONS_SEEN, MEMBERS, custom_id, prompt_sha256
from preprocessing.prompting.questions import Question
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.token_costs import PromptCount
from preprocessing.records.contract import INDIVIDUAL

PROMPTS = "prompts.jsonl"
CUSTOM_IDS = "custom_ids.csv"
_PSEUDONYM_CHARACTERS = 32


class PromptFile:
    """Writes prompts and counts them.

    A record has custom_id, source, entity_id, extraction, model (null), prompt and prompt_sha256,
    and where there are any, interactions_seen, json_schema of the answer, and members of the group.

    A batch file carries custom_ids to the LLM's provider, who must not learn user ids from them.
    With pseudonyms, the custom_id of a user's prompt is made from the hash of the prompt: the
    provider, who sees the prompt, learns nothing from it, no key has to be kept, and the same
    prompt has the same custom_id in every run. A second user with the very same prompt gets "-2".
    The table of pseudonyms leads back to the users; it stays in the house, like the file of
    prompts itself.
    """

    def __init__(self, prompts: TextIO, custom_ids: TextIO, scratch: Scratch, pseudonyms: bool):
        """Starts the table of pseudonyms.

        Args:
          prompts: open file for the prompts.
          custom_ids: open file for the table.
          scratch: remembers pseudonyms in use.
          pseudonyms: False writes user ids into custom_ids.
        """
        self._prompts = prompts
        self._scratch = scratch
        self._pseudonyms = pseudonyms
        self._table = csv.writer(custom_ids, lineterminator="\n")
        self._table.writerow(["custom_id", "source", "entity_id"])
        self._counts: dict[tuple[str, str, str], PromptCount] = {}

    def start(self, question: Question) -> None:
        """Makes a source appear in the counts, also if it gets no prompt."""
        asked = (question.source, question.entity, question.extraction)
        self._counts.setdefault(asked, PromptCount(*asked))

    def write(
        self,
        question: Question,
        entity_id: str,
        values: Mapping[str, str],
        *,
        interactions_seen: int | None = None,
        members: Sequence[str] = (),
    ) -> None:
        """Writes one prompt.

        Args:
          question: what is asked.
          entity_id: item, user or group id.
          values: of the placeholders that the question leaves open.
          interactions_seen: how many of the user's first interactions the prompt is made from.
          members: item ids of the group whose members the prompt lists, in its order.
        """
        source, extraction = question.source, question.extraction
        prompt = question.prompt(values, len(members))
        sha256 = prompt_sha256(prompt)
        name = custom_id(source, extraction, entity_id)
        if self._pseudonyms and question.entity == "user" and extraction == INDIVIDUAL:
            name = self._pseudonym(source, sha256)
            self._table.writerow([name, source, entity_id])
        record: dict[str, object] = {
            "custom_id": name,
            "source": source,
            "entity_id": entity_id,
            "extraction": extraction,
            "model": None,
            "prompt": prompt,
            "prompt_sha256": sha256,
        }
        if interactions_seen is not None:
            record[INTERACTIONS_SEEN] = interactions_seen
        if (schema := question.schema(len(members))) is not None:
            record[JSON_SCHEMA] = schema
        if members:
            record[MEMBERS] = list(members)
        self._prompts.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.start(question)
        names = question.names(len(members))
        count = self._counts[source, question.entity, extraction]
        count.prompts += 1
        count.prompt_tokens += estimated_tokens(prompt)
        count.texts += question.is_prose
        count.names += names
        count.most_names = max(count.most_names, names)

    def counts(self) -> list[PromptCount]:
        """What was written, by source and extraction, in the order in which they started."""
        return list(self._counts.values())

    def _pseudonym(self, source: str, sha256: str) -> str:
        name = custom_id(source, INDIVIDUAL, sha256[:_PSEUDONYM_CHARACTERS])
        times = self._scratch.times_asked(name)
        return name if times == 1 else f"{name}-{times}"


@contextmanager
def open_prompt_file(folder: Path, scratch: Scratch, pseudonyms: bool) -> Iterator[PromptFile]:
    """Opens the files of a step's folder; the table of pseudonyms is for the owner's eyes only."""
    table = folder / CUSTOM_IDS
    table.touch(mode=0o600)
    with (
        (folder / PROMPTS).open("w", encoding="utf-8", newline="\n") as prompts,
        table.open("w", encoding="utf-8", newline="") as custom_ids,
    ):
        yield PromptFile(prompts, custom_ids, scratch, pseudonyms)
