"""What is said when not one answer of a source can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from configs.command_line import CommandError
from preprocessing.dead_letters import DeadLetter

_FIXES = {
    "source_mismatch": "Call the source under knowledge.answers what the records call it, or "
    "correct the records",
    "no_metadata": "Name other attributes under 'metadata', or complete the catalogue",
    "extraction_mismatch": "Name files of answers about single entities under 'individual', files "
    "of answers about groups under 'collective'",
}


def no_usable_answer(
    source: str, files: Sequence[str], dead_letters: Iterable[DeadLetter], elsewhere: int = 0
) -> CommandError:
    """The error that names the commonest reason, and where it occurs first.

    Args:
      source: name of the source.
      files: its answer files.
      dead_letters: its rejected answers; none when the files hold no answers.
      elsewhere: answers of other sources in the files.
    """
    key = f"knowledge.answers.{source}"
    counts: Counter[str] = Counter()
    firsts: dict[str, DeadLetter] = {}
    for letter in dead_letters:
        counts[letter["reason"]] += 1
        firsts.setdefault(letter["reason"], letter)
    if not counts and elsewhere:
        return CommandError(
            f"{key}: all {elsewhere:,} answers in {', '.join(files)} are of other sources of "
            "knowledge.answers. Name the files that hold answers of this one"
        )
    if not counts:
        return CommandError(f"{key}: there are no answers in {', '.join(files)}")
    reasons = counts.most_common()
    commonest = reasons[0][0]
    first = firsts[commonest]
    counted = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
    fix = _FIXES.get(commonest, "Correct the answers, or name other files")
    return CommandError(
        f"{key}: every answer was rejected ({counted}). {first['file']}, line {first['line']}: "
        f"{first['detail']}. {fix}"
    )
