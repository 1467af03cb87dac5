"""What the leak check covers, and what it does not."""

from __future__ import annotations

from configs.scenario import Scenario
from trainer.report.inputs import ReportInputs
from trainer.report.protocol import arm_scenarios, knowledge_sources


def leak_sentences(inputs: ReportInputs) -> list[str]:
    """The result of the leak check in sentences, the uncovered sources last."""
    check = inputs.leak["leak_check"]
    return [
        _violation_sentence(inputs.leak["leak_violations"]),
        f"For {check['users_verified_by_prompt']:,} users the interactions shown in their prompt "
        "were counted and every sample was compared with that count; for "
        f"{check['users_by_rule_only']:,} users no prompt was counted, and samples were compared "
        "with k_u alone.",
        *_unverified_sentences(inputs.scenario, list(check["unverified_sources"])),
    ]


def _violation_sentence(violations: int) -> str:
    if violations == 0:
        return "0 violations: no sample is among the interactions that the LLM may have seen."
    noun = "sample was" if violations == 1 else "samples were"
    return (
        f"{violations:,} {noun} seen by the LLM: the results rest on leaked labels and must not "
        "be used."
    )


def _unverified_sentences(scenario: Scenario, unverified: list[str]) -> list[str]:
    if not unverified:
        return ["Every source is verified."]
    users: dict[str, list[str]] = {}
    for arm, resolved in arm_scenarios(scenario).items():
        for source in knowledge_sources(resolved):
            users.setdefault(source, []).append(arm)
    return [
        f"Unverified source “{source}” (read by {_arms_text(users.get(source, []))}): "
        f"{_reason(scenario, source)}"
        for source in unverified
    ]


def _arms_text(arms: list[str]) -> str:
    return ", ".join(arms) if arms else "no arm of this experiment"


def _reason(scenario: Scenario, source: str) -> str:
    answers = scenario.knowledge.answers.get(source)
    reasons = []
    if answers is not None and answers.collective and not answers.groups_verified:
        reasons.append(
            f"its {answers.entity} groups are not declared as built before k_u (groups_verified). "
            "Groups made from co-ratings of all users, as the item groups of the bundled "
            "MovieLens sample are, have seen validation and test interactions too, so which "
            f"group {_article(answers.entity)} belongs to is not covered by the leak check. It "
            f"concerns the {answers.entity}s that take their group’s answer for want of one of "
            "their own."
        )
    if answers is not None and answers.entity == "user" and answers.individual:
        if answers.history_entry_pattern is None:
            reasons.append(
                "its prompts are not at hand or nothing says how to count the interactions in "
                "them, so what the LLM saw of a user rests on the word of whoever made the "
                "answers."
            )
    return " Also, ".join(reasons) or "nothing shows what its answers were made from."


def _article(entity: str) -> str:
    return f"an {entity}" if entity == "item" else f"a {entity}"
