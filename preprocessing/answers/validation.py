"""`validate`: what `import` would say of answer files, with examples, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from configs.command_line import RejectedInput, say
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import Expected
from preprocessing.answers.reading import choose_formats, examine
from preprocessing.answers.record import Answer
from preprocessing.answers.summary import FileCounts, QualitySummary, summary_lines
from preprocessing.inputs import fingerprint_inputs


def validate_answers(
    paths: Sequence[str],
    *,
    format_name: str = "auto",
    source: str | None = None,
    extraction: str | None = None,
    thresholds: Thresholds | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Checks answer files.

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
    fingerprint_inputs({path: "FILE" for path in paths})
    formats = choose_formats(paths, format_name)
    quality, counts = QualitySummary(), FileCounts(paths, formats)
    expected = Expected(source, extraction)
    records = examine(paths, formats, expected, thresholds or Thresholds())
    for outcome in tqdm(records, unit=" answers", disable=None):
        counts.add(outcome)
        if isinstance(outcome, Answer):
            quality.accept(outcome)
        else:
            quality.reject(outcome)
    result = {
        **quality.counts(),
        "quality": quality.quality(),
        "examples": quality.examples(),
        "files": counts.entries(),
    }
    for line in summary_lines(result):
        say(line)
    for reason, examples in quality.examples().items():
        for example in examples:
            say(f"{example['file']}:{example['line']}: {reason}: {example['detail']}")
    if strict and result["rejected"]:
        raise RejectedInput(f"{result['rejected']:,} of {result['read']:,} answers", result)
    return result
