"""The durable store of paid answers: one SQLite file, one row per model, parameters and prompt."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, free_space
from preprocessing.answers.completion import INVALID_TEXT, REFUSAL, ChatResponse, Usage
from preprocessing.generation.chat import AnswerSchema, ChatParameters, SchemaMismatch

LINES_PER_TRANSACTION = 1000
"""Lines of a file of answers that are saved at once."""

TRUNCATED = "truncated"
_CONTENT_FILTER = "content_filter"
_WORTH_ANOTHER_CALL = ("blank_answer", "schema_mismatch", "invalid_text")


@dataclass(frozen=True)
class Rejection:
    """Why there is no answer.

    Attributes:
      reason: a fixed name that can be counted.
      detail: what was found.
    """

    reason: str
    detail: str


@dataclass(frozen=True)
class Acceptance:
    """The rules for answers. They judge what is stored, so new rules cost no new call.

    Attributes:
      schema: shape of structured answers, unless a prompt has its own; None for free text.
      keep_truncated: answers cut off at the token limit count.
      attempts_per_answer: calls for one prompt while its answer is empty or off the schema.
    """

    schema: AnswerSchema | None
    keep_truncated: bool
    attempts_per_answer: int

    def rejection(
        self, answer: StoredAnswer, schema: AnswerSchema | None = None
    ) -> Rejection | None:
        """Why an answer does not count; None if it does.

        Args:
          answer: the answer.
          schema: that of its prompt; None if it has none of its own.
        """
        if answer.finish_reason == REFUSAL:
            return Rejection("refusal", answer.text)
        if answer.finish_reason == _CONTENT_FILTER:
            return Rejection("content_filter", "the endpoint's content filter cut the answer")
        if answer.finish_reason == INVALID_TEXT:
            return Rejection("invalid_text", "the answer holds half a surrogate pair")
        if is_truncated(answer) and not self.keep_truncated:
            return Rejection(
                TRUNCATED,
                f"cut off after {answer.usage.completion_tokens} tokens; raise max_tokens",
            )
        if not answer.text.strip():
            return Rejection("blank_answer", "the LLM wrote nothing")
        if (expected := schema or self.schema) is not None:
            try:
                expected.parse(answer.text)
            except SchemaMismatch as error:
                return Rejection("schema_mismatch", str(error))
        return None

    def attempts_left(self, answer: StoredAnswer | None) -> int:
        """How often a prompt may still be asked."""
        return max(0, self.attempts_per_answer - (answer.calls if answer else 0))

    def needs_call(self, answer: StoredAnswer | None, schema: AnswerSchema | None = None) -> bool:
        """True without an answer, or with a bad one while attempts are left; see `rejection`."""
        if answer is None:
            return True
        if not self.attempts_left(answer):
            return False
        rejection = self.rejection(answer, schema)
        return rejection is not None and rejection.reason in _WORTH_ANOTHER_CALL


def is_truncated(answer: StoredAnswer) -> bool:
    """True when the token limit ended the answer."""
    return answer.finish_reason == "length"


_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
  model TEXT NOT NULL,
  parameters_sha256 TEXT NOT NULL,
  prompt_sha256 TEXT NOT NULL,
  text TEXT NOT NULL,
  finish_reason TEXT,
  answered_by TEXT,
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (model, parameters_sha256, prompt_sha256)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_requests (
  request_key TEXT NOT NULL PRIMARY KEY,
  model TEXT NOT NULL,
  parameters_sha256 TEXT NOT NULL,
  prompt_sha256 TEXT NOT NULL,
  file TEXT NOT NULL,
  prompt_tokens_estimate INTEGER NOT NULL,
  waiting INTEGER NOT NULL
) WITHOUT ROWID;
"""
_READ, _WAITING, _GIVEN_UP = range(3)
"""Values of the column `waiting`."""
_SAVE = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  text = excluded.text, finish_reason = excluded.finish_reason,
  answered_by = excluded.answered_by, prompt_tokens = excluded.prompt_tokens,
  completion_tokens = excluded.completion_tokens, estimated = excluded.estimated,
  calls = calls + excluded.calls
"""


@dataclass(frozen=True)
class StoredAnswer:
    """The newest answer to a prompt.

    Attributes:
      text: what the LLM wrote.
      finish_reason: why it ended; None if the endpoint did not say.
      answered_by: the model's name as the endpoint reported it; None if it did not.
      usage: tokens of the call that gave this answer.
      calls: paid calls for this prompt so far; 0 for a replayed answer.
    """

    text: str
    finish_reason: str | None
    answered_by: str | None
    usage: Usage
    calls: int


@dataclass(frozen=True)
class BatchRequest:
    """A request that was written into a batch request file.

    Attributes:
      prompt_sha256: the prompt's hash.
      prompt_tokens_estimate: used when the result does not count tokens.
      is_read: whether its result was read.
      is_given_up: whether nothing waits for its result any more.
    """

    prompt_sha256: str
    prompt_tokens_estimate: int
    is_read: bool
    is_given_up: bool


class AnswerStore:
    """Answers under one set of parameters; other sets live in the same file, unseen.

    Args:
      path: the SQLite file; created with its folder unless `read_only`.
      parameters: model and parameters of all requests.
      read_only: look only; a missing file is an empty store.

    Raises:
      CommandError: another run holds the file, or it is no answer store.
    """

    def __init__(self, path: Path, parameters: ChatParameters, read_only: bool = False):
        self._path = path
        self._key = (parameters.model, parameters.sha256)
        with self._explained():
            if read_only and not path.exists():
                self._connection = sqlite3.connect(":memory:")
            elif read_only:
                uri = f"{path.absolute().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, timeout=0)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(path, timeout=0)
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            if not (read_only and path.exists()):
                self._connection.executescript(_TABLES)

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def answers(self, prompts: Sequence[str]) -> dict[str, StoredAnswer]:
        """Stored answers by prompt hash, at most some hundreds at once."""
        rows = self._select(
            "SELECT prompt_sha256, text, finish_reason, answered_by, prompt_tokens, "
            "completion_tokens, estimated, calls FROM answers",
            prompts,
        )
        return {
            sha: StoredAnswer(
                text, finish_reason, answered_by, Usage(read, written, bool(estimated)), calls
            )
            for sha, text, finish_reason, answered_by, read, written, estimated, calls in rows
        }

    @property
    def has_answers(self) -> bool:
        """Whether anything was answered under these parameters."""
        query = "SELECT 1 FROM answers WHERE model = ? AND parameters_sha256 = ? LIMIT 1"
        with self._explained():
            return self._connection.execute(query, self._key).fetchone() is not None

    def waiting(self, prompts: Sequence[str]) -> set[str]:
        """Which of these prompts lie in a batch request file whose result was not read yet."""
        rows = self._select(
            "SELECT prompt_sha256 FROM batch_requests",
            prompts,
            condition=f"waiting = {_WAITING}",
        )
        return {sha for (sha,) in rows}

    def save(self, responses: Iterable[tuple[str, ChatResponse]], paid_calls: int = 1) -> None:
        """Stores responses by prompt hash, in one transaction that is on the disk on return.

        Args:
          responses: prompt hash and response; a newer response replaces an older one.
          paid_calls: added to each row's calls.
        """
        rows = [self._row(sha, response, paid_calls) for sha, response in responses]
        with self._explained(), self._connection:
            self._connection.executemany(_SAVE, rows)

    def save_batch_result(self, key: str, request: BatchRequest, response: ChatResponse) -> None:
        """Stores the result of a batch request; to be called within `transaction`."""
        self._connection.execute(_SAVE, self._row(request.prompt_sha256, response, paid_calls=1))
        self.end_batch_request(key)

    def end_batch_request(self, key: str) -> None:
        """Notes that a batch request's result was read; to be called within `transaction`."""
        self._connection.execute(
            "UPDATE batch_requests SET waiting = ? WHERE request_key = ?", (_READ, key)
        )

    def batch_request(self, key: str) -> BatchRequest | None:
        """The batch request with a key, under these parameters."""
        row = self._connection.execute(
            "SELECT prompt_sha256, prompt_tokens_estimate, waiting FROM batch_requests "
            "WHERE request_key = ? AND model = ? AND parameters_sha256 = ?",
            (key, *self._key),
        ).fetchone()
        if row is None:
            return None
        return BatchRequest(row[0], row[1], row[2] == _READ, row[2] == _GIVEN_UP)

    def add_batch_requests(self, file: str, requests: Iterable[tuple[str, int]]) -> None:
        """Notes requests (prompt hash, estimated prompt tokens) as written into a file."""
        rows = [
            (self.request_key(sha, file), *self._key, sha, file, estimate, _WAITING)
            for sha, estimate in requests
        ]
        with self._explained(), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO batch_requests VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )

    def forget_batches(self) -> int:
        """Gives up waiting for batch results; returns how many requests that frees.

        A result that comes all the same is taken where nothing was answered meanwhile.
        """
        with self._explained(), self._connection:
            return self._connection.execute(
                "UPDATE batch_requests SET waiting = ? "
                "WHERE waiting = ? AND model = ? AND parameters_sha256 = ?",
                (_GIVEN_UP, _WAITING, *self._key),
            ).rowcount

    def batch_files(self) -> set[str]:
        """All batch request files ever noted, under any parameters."""
        return {file for (file,) in self._connection.execute("SELECT file FROM batch_requests")}

    def request_key(self, prompt_sha256: str, file: str) -> str:
        """Names a request by model, parameters, prompt and file: 64 hexadecimal digits, no ids.

        Of a prompt that is asked again in a later file, each result belongs to its own request.
        """
        named = (*self._key, prompt_sha256, Path(file).name)
        return hashlib.sha256("\0".join(named).encode()).hexdigest()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Groups changes; all are on the disk at its end, or none."""
        with self._explained(), self._connection:
            yield

    def _row(self, sha: str, response: ChatResponse, paid_calls: int) -> tuple[object, ...]:
        usage = response.usage
        return (
            *self._key,
            sha,
            response.text,
            response.finish_reason,
            response.answered_by,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.estimated,
            paid_calls,
        )

    def _select(
        self, query: str, prompts: Sequence[str], condition: str = "1 = 1"
    ) -> list[tuple[Any, ...]]:
        places = ", ".join("?" * len(prompts))
        with self._explained():
            return self._connection.execute(
                f"{query} WHERE model = ? AND parameters_sha256 = ? AND {condition} "
                f"AND prompt_sha256 IN ({places})",
                (*self._key, *prompts),
            ).fetchall()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                message = "another run uses this answer store; wait for its end"
            else:
                message = (
                    f"the answer store cannot be used ({error}; {free_space(self._path)} are free "
                    "there); what was stored before is kept. Repair that and run the same command "
                    "again"
                )
            raise CommandError(f"{self._path}: {message}") from error
