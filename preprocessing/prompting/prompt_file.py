"""The file of prompts: one JSON object a line, and a table of pseudonyms beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from preprocessing.answers.completion import estimated_tokens
from preprocessing.answers.record import INTERACTIONS_SEEN, custom_id, prompt_sha256
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.token_costs import PromptCount
from preprocessing.records.contract import INDIVIDUAL

PROMPTS = "prompts.jsonl"
CUSTOM_IDS = "custom_ids.csv"
_PSEUDONYM_CHARACTERS = 32


class PromptFile:
    """Writes prompts and counts them.

    A record has custom_id, source, entity_id, extraction, model (null), prompt and prompt_sha256,
    and where it was given, interactions_seen.

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
        self._counts: dict[tuple[str, str, str], list[int]] = {}

    def start(self, source: str, entity: str, extraction: str) -> None:
        """Makes a source appear in the counts, also if it gets no prompt."""
        self._counts.setdefault((source, entity, extraction), [0, 0])

    def write(
        self,
        source: str,
        entity: str,
        extraction: str,
        entity_id: str,
        prompt: str,
        interactions_seen: int | None = None,
    ) -> None:
        """Writes one prompt.

        Args:
          source: name of the source.
          entity: "item" or "user".
          extraction: "individual" or "collective".
          entity_id: item, user or group id.
          prompt: the text.
          interactions_seen: how many of the user's first interactions the prompt is made from.
        """
        sha256 = prompt_sha256(prompt)
        name = custom_id(source, extraction, entity_id)
        if self._pseudonyms and entity == "user" and extraction == INDIVIDUAL:
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
        self._prompts.write(json.dumps(record, ensure_ascii=False) + "\n")
        count = self._counts.setdefault((source, entity, extraction), [0, 0])
        count[0] += 1
        count[1] += estimated_tokens(prompt)

    def counts(self) -> list[PromptCount]:
        """What was written, by source and extraction, in the order in which they started."""
        return [PromptCount(*names, *numbers) for names, numbers in self._counts.items()]

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
