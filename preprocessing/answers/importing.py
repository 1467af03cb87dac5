"""`import` of foreign answers: records, dead letters, a summary; `validate`: the summary alone.

A summary says what a set of answers looks like: counts, lengths, shares of reasons, examples.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from configs.command_line import CommandError, RejectedInput, say
from configs.files import errors_name, require_folder_name
from configs.loading import ConfigurationError
from configs.progress import progress
from configs.section import variable_names
from preprocessing import storage
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import Expected
from preprocessing.answers.names import NameCounts, told_names
from preprocessing.answers.prompts import read_asked_prompts
from preprocessing.answers.reading import IdMapping, choose_formats, examine
from preprocessing.answers.record import (
    LINKING_REASONS,
    QUALITY_REASONS,
    RECORD_REASONS,
    Answer,
)
from preprocessing.dead_letters import DeadLetter, DeadLetterRuns
from preprocessing.inputs import input_checksums
from preprocessing.steps import only_writer

_PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}
_EXAMPLES_PER_REASON = 3
_TOKENS = ("prompt_tokens", "completion_tokens")
_MEANINGS = {**RECORD_REASONS, **QUALITY_REASONS, **LINKING_REASONS}
_UNKNOWN_IDS = ("unknown_custom_id", "invalid_custom_id")


class AnswerSummary:
    """Counts examined answers, all together and those of each file.

    Args:
      paths: the files; one that is named twice is counted together.
      formats: name of each file's format.

    Attributes:
      names: names in the answers that list some, see `examine`.
    """

    def __init__(self, paths: Sequence[str], formats: Sequence[str]):
        self._formats = dict(zip(paths, formats, strict=True))
        self._accepted = dict.fromkeys(paths, 0)
        self._rejected = dict.fromkeys(paths, 0)
        self._reasons: Counter[str] = Counter()
        self._extractions: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._lengths = array("Q")
        self._without_prompt = 0
        self.names = NameCounts()
        self._examples: dict[str, list[dict[str, object]]] = {}

    def counted(self, outcomes: Iterable[Answer | DeadLetter]) -> Iterator[Answer | DeadLetter]:
        """Passes examined answers on and counts each; shows how many there were so far."""
        for outcome in progress(outcomes, unit=" answers"):
            if isinstance(outcome, Answer):
                self._accept(outcome)
            else:
                self._reject(outcome)
            yield outcome

    def _accept(self, answer: Answer) -> None:
        self._accepted[answer.location.file] += 1
        self._lengths.append(len(answer.text))
        self._extractions[answer.extraction] += 1
        self._models[answer.model or "unknown"] += 1
        self._without_prompt += answer.prompt is None
        for name in _TOKENS:
            tokens = (answer.usage or {}).get(name)
            if type(tokens) is int and tokens >= 0:
                self._tokens[name] += tokens

    def _reject(self, letter: DeadLetter) -> None:
        self._rejected[letter["file"]] += 1
        self._reasons[letter["reason"]] += 1
        examples = self._examples.setdefault(letter["reason"], [])
        if len(examples) < _EXAMPLES_PER_REASON:
            examples.append({name: letter[name] for name in ("file", "line", "detail")})

    def counts(self) -> dict[str, Any]:
        """`read`, `accepted`, `rejected` and `rejected_by_reason`; the first is their sum."""
        accepted, rejected = len(self._lengths), self._reasons.total()
        return {
            "read": accepted + rejected,
            "accepted": accepted,
            "rejected": rejected,
            "rejected_by_reason": dict(sorted(self._reasons.items())),
        }

    def quality(self) -> dict[str, Any]:
        """Shares of the reasons among all records, and what the accepted answers look like."""
        read = self.counts()["read"]
        return {
            "share_by_reason": {
                reason: round(count / read, 6) for reason, count in sorted(self._reasons.items())
            },
            "characters": self._describe_lengths(),
            "extractions": dict(sorted(self._extractions.items())),
            "models": dict(sorted(self._models.items())),
            "tokens": dict(self._tokens),
            "without_prompt": self._without_prompt,
            "names": self.names.as_dictionary() if self.names.lists else None,
        }

    def examples(self) -> dict[str, list[dict[str, object]]]:
        """Reason -> the first rejected records with it: file, line and detail."""
        return dict(sorted(self._examples.items()))

    def example_lines(self) -> Iterator[str]:
        """The same for people."""
        for reason, examples in self.examples().items():
            for example in examples:
                yield f"{example['file']}:{example['line']}: {reason}: {example['detail']}"

    def files(self) -> list[dict[str, object]]:
        """File, format, and the records read, accepted and rejected."""
        return [
            {
                "file": path,
                "format": form,
                "read": self._accepted[path] + self._rejected[path],
                "accepted": self._accepted[path],
                "rejected": self._rejected[path],
            }
            for path, form in self._formats.items()
        ]

    def _describe_lengths(self) -> dict[str, float] | None:
        if not self._lengths:
            return None
        lengths = np.frombuffer(self._lengths, dtype=np.uint64)
        points = np.percentile(lengths, list(_PERCENTILES.values()))
        return {
            "minimum": int(lengths.min()),
            **{
                name: round(float(point), 1)
                for name, point in zip(_PERCENTILES, points, strict=True)
            },
            "maximum": int(lengths.max()),
            "mean": round(float(lengths.mean()), 1),
        }


def summary_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What a person wants to know about a set of answers."""
    quality = result["quality"]
    kinds = ", ".join(f"{count:,} {name}" for name, count in quality["extractions"].items())
    yield (
        f"{result['read']:,} answers read, {result['accepted']:,} accepted"
        f"{f' ({kinds})' if kinds else ''}, {result['rejected']:,} rejected"
    )
    for reason, count in sorted(result["rejected_by_reason"].items(), key=lambda item: -item[1]):
        share = quality["share_by_reason"][reason]
        yield f"  {count:>8,}  {share:>6.1%}  {reason}: {_MEANINGS[reason]}"
    if not result["accepted"] and any(
        name in result["rejected_by_reason"] for name in _UNKNOWN_IDS
    ):
        yield (
            "no custom_id says what its answer is about. If `generate --client batch-file` wrote "
            "the requests, read their results with the same `generate` command and --read-batch "
            "FILE: it named each request by a hash"
        )
    lengths = quality["characters"]
    if lengths:
        yield (
            f"characters: {lengths['minimum']:,} to {lengths['maximum']:,}, "
            f"median {lengths['median']:,.0f}, "
            f"90 % of them {lengths['p5']:,.0f} to {lengths['p95']:,.0f}"
        )
    if quality["names"] is not None:
        yield told_names(quality["names"])
    if quality["without_prompt"]:
        yield (
            f"{quality['without_prompt']:,} answers come without their prompt: the leak check "
            "cannot count what the LLM saw of a user"
        )


_HIDDEN = ".import.partial"


@contextmanager
def written_whole(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Gives a hidden folder whose files are moved into the folder when the block ends well.

    A failed or killed import leaves the files of an earlier one as they were.

    Args:
      folder: the value of `--out`.
      names: the files that the block writes, in the order in which they are moved.

    Raises:
      ConfigurationError: the path is a file.
      CommandError: another process writes there.
    """
    require_folder_name("--out", folder)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder):
        hidden = folder / _HIDDEN
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        try:
            yield hidden
            for name in names:
                os.replace(hidden / name, folder / name)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


_PLAIN, _COMPRESSED = "answers.jsonl", "answers.jsonl.gz"
_DEAD_LETTERS = "dead_letters.jsonl"
_SUMMARY = "summary.json"
_RUNS = "dead_letters.runs"


@dataclass(frozen=True)
class ImportFolder:
    """Where things are in a folder of imported answers.

    Attributes:
      path: the folder.
      compressed: whether the answers are gzipped.
    """

    path: Path
    compressed: bool = False

    @property
    def answers(self) -> Path:
        """Accepted answers, JSON lines."""
        return self.path / (_COMPRESSED if self.compressed else _PLAIN)

    @property
    def dead_letters(self) -> Path:
        """Rejected records, JSON lines with file, line, reason and detail."""
        return self.path / _DEAD_LETTERS

    @property
    def summary(self) -> Path:
        """Counts and quality."""
        return self.path / _SUMMARY


class ImportWriter:
    """Writes into a hidden folder inside the target.

    Args:
      folder: the hidden folder, laid out like the target.
    """

    def __init__(self, folder: ImportFolder):
        self._folder = folder
        self._files = ExitStack()
        self._answers = _open_text(folder.answers, self._files)
        self._letters = DeadLetterRuns(folder.path / _RUNS)

    def write(self, outcome: Answer | DeadLetter) -> None:
        """Adds an answer, or a dead letter in any order."""
        if not isinstance(outcome, Answer):
            self._letters.add([outcome])
            return
        with errors_name(self._folder.answers):
            self._answers.write(json.dumps(outcome.record(), allow_nan=False) + "\n")

    def finish(self, summary: Mapping[str, object]) -> None:
        """Writes what needs all records: the sorted dead letters and the summary."""
        with errors_name(self._folder.answers):
            self._files.close()
        self._letters.write(self._folder.dead_letters)
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        with errors_name(self._folder.summary):
            self._folder.summary.write_text(text, encoding="utf-8")

    def give_up(self) -> None:
        """Closes what is open, whether or not the disk takes the rest of it."""
        with suppress(OSError):
            self._files.close()


@contextmanager
def writing(folder: ImportFolder) -> Iterator[ImportWriter]:
    """Gives a writer whose files are moved into the folder when the block ends well.

    The summary is moved last: where it is new, everything is.

    Raises:
      ConfigurationError: the path is a file.
    """
    names = [path.name for path in (folder.answers, folder.dead_letters, folder.summary)]
    with written_whole(folder.path, names) as path:
        hidden = ImportFolder(path, folder.compressed)
        writer = ImportWriter(hidden)
        try:
            yield writer
        except BaseException:
            writer.give_up()
            raise
    # Answers of an earlier import with the other compression are not this import's.
    ImportFolder(folder.path, not folder.compressed).answers.unlink(missing_ok=True)


def _open_text(path: Path, files: ExitStack) -> IO[str]:
    """Opens a new text file, gzipped if its name ends so; equal texts give equal bytes.

    Args:
      path: the file.
      files: closes it, and what lies between.
    """
    if path.suffix != ".gz":
        return files.enter_context(path.open("w", encoding="utf-8"))
    stored = files.enter_context(path.open("wb"))
    packed = gzip.GzipFile(filename="", fileobj=stored, mode="wb", mtime=0)
    return files.enter_context(io.TextIOWrapper(cast(IO[bytes], packed), encoding="utf-8"))


def import_answers(
    paths: Sequence[str],
    source: str,
    out: str | Path,
    *,
    format_name: str = "auto",
    extraction: str | None = None,
    model: str | None = None,
    prompts: Sequence[str] = (),
    ids: str | None = None,
    thresholds: Thresholds | None = None,
    compressed: bool = False,
    strict: bool = False,
) -> dict[str, Any]:
    """Writes answers, dead letters and a summary into a folder.

    Args:
      paths: answer files; the first accepted answer for an entity counts.
      source: the answers' source.
      out: the folder.
      format_name: a name of `formats.FORMATS`, or "auto".
      extraction: "individual" or "collective"; if not given, what the file or its format says.
      model: the LLM, where a file does not say.
      prompts: prompt files that say what a custom id is about; without any its own text does.
      ids: file of old and new ids, see `IdMapping`; None keeps the ids of the answers.
      thresholds: when an answer counts as bad.
      compressed: write `answers.jsonl.gz`.
      strict: raise RejectedInput when records were rejected.

    Returns:
      The summary: read = accepted + rejected.

    Raises:
      ConfigurationError: a file does not exist, or the source cannot be a name.
      CommandError: a file cannot be read as its format at all, a prompt file has a line that is
        no prompt, the file of ids has an id twice, or answers would be lost, either rejected ones
        of an input that lies in `out`, or those in `out` for none at all; nothing is written.
      RejectedInput: records were rejected and `strict` was given; everything is written.
    """
    try:
        variable_names([source])
    except ValueError as error:
        raise ConfigurationError(f"--source: {error}") from error
    files = {path: "FILE" for path in paths} | {path: "--prompts" for path in prompts}
    checksums = input_checksums(files)
    mapping = None if ids is None else IdMapping(ids)
    formats = choose_formats(paths, format_name)
    asked = read_asked_prompts(prompts) if prompts else None
    expected = Expected(source, extraction, model, asked)
    folder = ImportFolder(Path(out), compressed)
    summary = AnswerSummary(paths, formats)
    thresholds = thresholds or Thresholds()
    records = examine(paths, formats, expected, thresholds, mapping, summary.names)
    with writing(folder) as writer:
        for outcome in summary.counted(records):
            writer.write(outcome)
        result = {
            **summary.counts(),
            "quality": summary.quality(),
            "source": source,
            "files": [
                {**entry, "sha256": checksums[str(entry["file"])]} for entry in summary.files()
            ],
            "answers": str(folder.answers),
            "dead_letters": str(folder.dead_letters),
        }
        if mapping is not None:
            mapping.require_met()
            result["ids"] = mapping.summary()
        if result["rejected"]:
            _require_nothing_lost(folder.path, result, summary)
        writer.finish(result)
    for line in summary_lines(result):
        say(line)
    if mapping is not None:
        met = result["ids"]
        say(f"ids: {met['ids_met']:,} of the {met['ids']:,} old ids of {met['file']} were met")
    say(f"answers: {folder.answers}")
    if result["rejected"]:
        say(f"rejected records: {folder.dead_letters}")
        if strict:
            raise RejectedInput(f"some records were rejected; see {folder.dead_letters}", result)
    return result


def _has_answers(folder: Path) -> bool:
    answers = (ImportFolder(folder, compressed).answers for compressed in (False, True))
    return any(path.is_file() and path.stat().st_size for path in answers)


def _require_nothing_lost(out: Path, result: Mapping[str, Any], summary: AnswerSummary) -> None:
    """Raises CommandError if rejected answers are in the input that is replaced, or nothing else.

    The message has what is said of them, since no dead letters are written.
    """
    written = {ImportFolder(out, compressed).answers.resolve() for compressed in (False, True)}
    problem = ""
    for entry in result["files"]:
        path = entry["file"]
        if entry["rejected"] and not storage.is_url(path) and Path(path).resolve() in written:
            problem = f"{path} is an input, too, and what is rejected of it would be gone"
    if not result["accepted"] and _has_answers(out):
        problem = f"no answer was accepted, and {out} has those of an earlier import"
    if problem:
        told = [*summary_lines(result), *summary.example_lines()]
        raise CommandError("\n".join([*told, f"--out {out}: {problem}; name another folder"]))


def validate_answers(
    paths: Sequence[str],
    *,
    format_name: str = "auto",
    source: str | None = None,
    extraction: str | None = None,
    thresholds: Thresholds | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Says what `import` would say of answer files, with examples; writes nothing.

    Args:
      paths: answer files.
      format_name: a name of `formats.FORMATS`, or "auto".
      source: the source that all answers must belong to; any if not given.
      extraction: "individual" or "collective"; either if not given.
      thresholds: when an answer counts as bad.
      strict: raise RejectedInput when a record would be rejected.

    Returns:
      The summary, read = accepted + rejected, and `examples`: reason -> file, line and detail of
      the first records with it.

    Raises:
      ConfigurationError: a file does not exist.
      CommandError: a file cannot be read as its format at all.
      RejectedInput: `strict` was given and a record would be rejected.
    """
    input_checksums({path: "FILE" for path in paths})
    formats = choose_formats(paths, format_name)
    expected = Expected(source, extraction)
    summary = AnswerSummary(paths, formats)
    outcomes = examine(paths, formats, expected, thresholds or Thresholds(), names=summary.names)
    for _ in summary.counted(outcomes):
        pass
    result = {
        **summary.counts(),
        "quality": summary.quality(),
        "examples": summary.examples(),
        "files": summary.files(),
    }
    for line in summary_lines(result):
        say(line)
    for line in summary.example_lines():
        say(line)
    if strict and result["rejected"]:
        raise RejectedInput(f"{result['rejected']:,} of {result['read']:,} answers", result)
    return result
