"""What the leak check covers, and what it does not."""

from __future__ import annotations

from configs.scenario import Scenario
from trainer.experiments.grid import arm_scenarios
from trainer.report.inputs import ReportInputs


def leak_sentences(inputs: ReportInputs) -> list[str]:
    """The result of the leak check in sentences, what it takes on trust last."""
    check = inputs.leak["leak_check"]
    return [
        _violation_sentence(inputs.leak["leak_violations"]),
        f"For {check['users_verified_by_prompt']:,} users the interactions shown in their prompts "
        "were counted, and the position of every sample was compared with that number and with "
        f"k_u; for {check['users_by_rule_only']:,} users no prompt was counted, and positions were "
        "compared with k_u alone.",
        "How many interactions a prompt shows is compared, not which: the check takes them for "
        "the user’s first ones and does not look the items up.",
        *_declared_sentences(inputs.scenario),
        *_unverified_sentences(inputs.scenario, list(check["unverified_sources"])),
    ]


def _violation_sentence(violations: int) -> str:
    if violations == 0:
        return (
            "0 violations: no sample is among the interactions that the LLM may have seen by "
            "these counts. A violation stops the job before training."
        )
    noun = "sample was" if violations == 1 else "samples were"
    return (
        f"{violations:,} {noun} seen by the LLM: the results rest on leaked labels and must not "
        "be used."
    )


def _unverified_sentences(scenario: Scenario, unverified: list[str]) -> list[str]:
    if not unverified:
        return ["No source is unverified."]
    return [
        f"Unverified source “{source}” (read by {_readers(scenario, source)}): "
        f"{_reason(scenario, source)}"
        for source in unverified
    ]


def _declared_sentences(scenario: Scenario) -> list[str]:
    """One sentence per source whose groups the check takes on the configuration's word."""
    return [
        f"Declared source “{source}” (read by {_readers(scenario, source)}): the configuration "
        "declares its groups as built from interactions before k_u only (groups_verified); this "
        "is not checked."
        for source, answers in scenario.knowledge.answers.items()
        if answers.collective and answers.groups_verified
    ]


def _readers(scenario: Scenario, source: str) -> str:
    arms = [
        arm
        for arm, resolved in arm_scenarios(scenario).items()
        if source in resolved.knowledge_sources()
    ]
    return ", ".join(arms) if arms else "no arm of this experiment"


def _reason(scenario: Scenario, source: str) -> str:
    answers = scenario.knowledge.answers.get(source)
    reasons = []
    if answers is not None and answers.vectors:
        reasons.append(
            "its vectors were made elsewhere, and nothing shows from which interactions."
        )
    made_here = answers is not None and answers.grouping is not None
    if answers is not None and answers.collective and not (made_here or answers.groups_verified):
        reasons.append(
            f"its {answers.entity} groups are not declared as built before k_u (groups_verified). "
            "Groups made from co-ratings of all users, as the item groups of the bundled "
            "MovieLens sample are, have seen validation and test interactions too, so which "
            f"group {_article(answers.entity)} belongs to is not covered by the leak check. It "
            f"concerns the {answers.entity}s that take their group’s answer for want of one of "
            "their own."
        )
    if answers is not None and answers.entity == "user" and answers.individual:
        missing = (
            "nothing says how to count the interactions in its prompts (history_entry_pattern)"
            if answers.history_entry_pattern is None
            else "not all of its prompts were counted, as answers came without a prompt or with "
            "one that shows fewer interactions than k_u or none that was recognised"
        )
        reasons.append(
            f"{missing}, so what the LLM saw of a user rests on the word of whoever made the "
            "answers."
        )
    return " Also, ".join(reasons) or "nothing shows what its answers were made from."


def _article(entity: str) -> str:
    return f"an {entity}" if entity == "item" else f"a {entity}"
