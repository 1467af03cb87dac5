"""Client `batch-file`: OpenAI batch request files, to be sent by hand or by another program.

A request is named by a hash of model, parameters and prompt, so no id of an entity leaves the
house, and a result finds its prompt only under the parameters that it was asked with.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from preprocessing import storage
from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.budget import Budget
from preprocessing.generation.chat import ChatParameters, ChatRequest
from preprocessing.generation.client import BUDGET_REACHED, ClientReport

_MOST_BYTES_PER_FILE = 190_000_000
_FILE_NAME = re.compile(r"requests-(\d{5})\.jsonl")


@dataclass(frozen=True)
class BatchFileClient:
    """Writes every pending request once; `BatchResultClient` takes the answers in.

    Attributes:
      folder: where `requests-00000.jsonl` and so on belong.
      parameters: model and parameters of all requests.
      requests_per_file: most requests in one file; a file also stays below 190 MB.
      budget: the most that all requests of this run may spend.
    """

    folder: Path
    parameters: ChatParameters
    requests_per_file: int
    budget: Budget

    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        """See `AnswerClient`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self._finish_killed_run(store)
        requests = 0
        report = ClientReport()
        pending = self._within_budget(pending, report)
        number = self._next_number(store)
        request = next(pending, None)
        while request is not None:
            path = self.folder.absolute() / f"requests-{number:05d}.jsonl"
            partial = _partial(path)
            with storage.errors_name(path), partial.open("wb") as file:
                written, request = self._fill(file, request, pending, store)
                file.flush()
                os.fsync(file.fileno())
            # Noted before anyone can send the file, so that no request is ever in two files.
            store.add_batch_requests(str(path), written)
            os.replace(partial, path)
            files.append(str(path))
            requests += len(written)
            number += 1
        report.details = {"batch_files": files, "batch_requests": requests}
        return report

    def _finish_killed_run(self, store: AnswerStore) -> list[str]:
        """Moves files into place that are complete and noted; returns their names."""
        killed = [
            file
            for file in sorted(store.batch_files())
            if _partial(Path(file)).exists() and not Path(file).exists()
        ]
        for file in killed:
            os.replace(_partial(Path(file)), file)
        return killed

    def _within_budget(
        self, pending: Iterator[ChatRequest], report: ClientReport
    ) -> Iterator[ChatRequest]:
        for request in pending:
            if not self.budget.reserve(self.parameters.most_usage(request.prompt)):
                report.stopped = BUDGET_REACHED
                return
            yield request

    def _next_number(self, store: AnswerStore) -> int:
        names = [Path(file).name for file in store.batch_files()]
        names.extend(path.name for path in self.folder.iterdir())
        numbers = [int(match[1]) for name in names if (match := _FILE_NAME.fullmatch(name))]
        return max(numbers, default=-1) + 1

    def _fill(
        self,
        file: BinaryIO,
        request: ChatRequest | None,
        pending: Iterator[ChatRequest],
        store: AnswerStore,
    ) -> tuple[list[tuple[str, int]], ChatRequest | None]:
        """Writes one file; returns what it holds and the first request of the next one."""
        written: list[tuple[str, int]] = []
        size = 0
        while request is not None and len(written) < self.requests_per_file:
            line = self._line(request, store)
            size += len(line)
            if written and size > _MOST_BYTES_PER_FILE:
                break
            file.write(line)
            estimate = self.parameters.prompt_tokens_estimate(request.prompt)
            written.append((request.prompt_sha256, estimate))
            request = next(pending, None)
        return written, request

    def _line(self, request: ChatRequest, store: AnswerStore) -> bytes:
        entry = {
            "custom_id": store.request_key(request.prompt_sha256),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": self.parameters.body(request.prompt),
        }
        return json.dumps(entry).encode() + b"\n"


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
