"""What is said when not one answer of a source can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from configs.command_line import CommandError
from preprocessing.dead_letters import DeadLetter

_FIXES = {
    "source_mismatch": "Call the source under knowledge.answers what the records call it, or "
    "correct the records",
    "extraction_mismatch": "Name files of answers about single entities under 'individual', files "
    "of answers about groups under 'collective'",
}


def no_usable_answer(
    source: str, files: Sequence[str], dead_letters: Sequence[DeadLetter]
) -> CommandError:
    """The error that names the commonest reason, and where it occurs first.

    Args:
      source: name of the source.
      files: its answer files.
      dead_letters: its rejected answers; none when the files hold no answers.
    """
    key = f"knowledge.answers.{source}"
    if not dead_letters:
        return CommandError(f"{key}: there are no answers in {', '.join(files)}")
    reasons = Counter(letter["reason"] for letter in dead_letters).most_common()
    commonest = reasons[0][0]
    first = next(letter for letter in dead_letters if letter["reason"] == commonest)
    counted = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
    fix = _FIXES.get(commonest, "Correct the answers, or name other files")
    return CommandError(
        f"{key}: every answer was rejected ({counted}). {first['file']}, line {first['line']}: "
        f"{first['detail']}. {fix}"
    )
