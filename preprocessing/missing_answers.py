"""A scenario whose LLM answers are not there yet: a baseline first, knowledge later."""

from __future__ import annotations

from collections.abc import Mapping

from configs.command_line import say
from configs.data import Split
from configs.scenario import Scenario
from preprocessing import storage


def missing_answers(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Sources that wait for answers, as long as no file of any source is there.

    As soon as one source has a file, a path that leads nowhere is a mistake like any other.

    Returns:
      Source -> its paths and patterns, none of which means a file; of links that are mined from
      prose alone, those of the prose.
    """
    answers = scenario.knowledge.answers
    waiting = {source: described.files for source, described in answers.items() if described.files}
    if any(storage.matching_files(path) for paths in waiting.values() for path in paths):
        return {}
    for source, described in answers.items():
        mined = described.links.mine if described.links is not None else ()
        if mined and not described.files:
            waiting[source] = tuple(path for prose in mined for path in answers[prose].files)
    return waiting


def needed_split(scenario: Scenario) -> Split:
    """The split with no more history held back than answers, groups and vectors may show.

    Where none of those that are there can show interactions of users, `knowledge_history_cap` is 0.
    """
    missing = missing_answers(scenario)
    for source, described in scenario.knowledge.answers.items():
        if source not in missing and described.may_show_interactions:
            return scenario.split
    return scenario.split.model_copy(update={"knowledge_history_cap": 0})


def tell_missing_answers(scenario: Scenario, missing: Mapping[str, tuple[str, ...]]) -> None:
    """Says what a scenario without answers is good for, and how to get them; else nothing.

    Args:
      scenario: the scenario.
      missing: see `missing_answers`.
    """
    if not missing and scenario.knowledge.answers:
        return
    files = list(dict.fromkeys(path for paths in missing.values() for path in paths))
    reason = (
        f"no answers yet of {', '.join(missing)} ({', '.join(files)})"
        if missing
        else "the scenario describes no knowledge"
    )
    to_do = (
        "" if missing else "describe sources under knowledge.answers (docs/generation.md), then "
    )
    say(
        f"examples: {reason}, so they are for models without knowledge (model.adapter=none "
        "model.match=none model.prior=false), and no history is held back from the samples. To "
        "add knowledge: "
        f"{to_do}'python -m preprocessing prompts', 'generate' or 'import', and 'all' again; "
        "samples then start after what prompts show, and a baseline is trained anew"
    )
