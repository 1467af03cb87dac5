"""Sources as prompts, groups and answer records name them.

A structured answer holds all factors, so the sources of its factors (`item_genre`, `item_theme`)
are asked about once, under one name (`item`), and share their groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.knowledge.factors import recorded_source


def asked_sources(answers: Mapping[str, SourceAnswers]) -> dict[str, SourceAnswers]:
    """Name under which a source is asked about -> its configuration (of its first factor).

    Args:
      answers: `knowledge.answers`.

    Raises:
      ConfigurationError: factors of one source are of different entities or groups.
    """
    asked: dict[str, SourceAnswers] = {}
    for source, described in answers.items():
        name = recorded_source(source, described.factor)
        first = asked.setdefault(name, described)
        for key in ("entity", "groups", "grouping"):
            if getattr(first, key) != getattr(described, key):
                raise ConfigurationError(
                    f"knowledge.answers.{source}.{key}: differs from that of another source named "
                    f"'{name}' in prompts and answers; factors of one answer have one '{key}'"
                )
    return asked


def other_sources(answers: Mapping[str, SourceAnswers], source: str) -> frozenset[str]:
    """What records of all other sources call their source.

    Args:
      answers: `knowledge.answers`.
      source: one of its keys.
    """
    names = {recorded_source(name, described.factor) for name, described in answers.items()}
    return frozenset(names - {recorded_source(source, answers[source].factor)})


def chosen_sources(
    answers: Mapping[str, SourceAnswers], names: Iterable[str] | None
) -> dict[str, SourceAnswers]:
    """Those of `asked_sources` that are meant.

    Args:
      answers: `knowledge.answers`.
      names: keys of `answers`, or names of `asked_sources`; None takes all.

    Raises:
      ConfigurationError: there is no source of a name.
    """
    asked = asked_sources(answers)
    if names is None:
        return asked
    meant = set()
    for name in names:
        if name not in answers and name not in asked:
            raise ConfigurationError(
                f"there is no source '{name}' in knowledge.answers (there: {', '.join(answers)})"
            )
        meant.add(recorded_source(name, answers[name].factor) if name in answers else name)
    return {name: described for name, described in asked.items() if name in meant}
