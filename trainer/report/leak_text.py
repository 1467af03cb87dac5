"""What the leak check covers, and what it does not."""

from __future__ import annotations

from configs.scenario import Scenario
from preprocessing.records.leak_rule import LeakRule, rules_of
from trainer.experiments.grid import arm_scenarios
from trainer.report.inputs import ReportInputs


def leak_sentences(inputs: ReportInputs) -> list[str]:
    """The result of the leak check in sentences, what it takes on trust last."""
    check = inputs.leak["leak_check"]
    return [
        _violation_sentence(inputs.leak["leak_violations"]),
        f"For {check['users_verified_by_prompt']:,} users every interaction that their prompts "
        "show was looked up by title and rating, and is one that the LLM may have seen; for "
        f"{check['users_by_rule_only']:,} users samples were compared with k_u alone.",
        *_declared_sentences(inputs),
        *_unverified_sentences(inputs),
    ]


def leak_rules_of_report(inputs: ReportInputs) -> dict[str, LeakRule]:
    """What is known of every source that an arm of the report reads."""
    return rules_of(inputs.leak["leak_check"], _readers(inputs))


def unverified_sources(inputs: ReportInputs) -> list[str]:
    """Unverified sources that an arm of the report reads."""
    rules = leak_rules_of_report(inputs)
    return [source for source, rule in rules.items() if rule is LeakRule.UNVERIFIED]


def _violation_sentence(violations: int) -> str:
    if violations == 0:
        return (
            "0 violations: no sample is among the interactions that the LLM may have seen. A "
            "violation stops the job before training."
        )
    noun = "sample was" if violations == 1 else "samples were"
    return (
        f"{violations:,} {noun} seen by the LLM: the results rest on leaked labels and must not "
        "be used."
    )


def _unverified_sentences(inputs: ReportInputs) -> list[str]:
    read = _readers(inputs)
    return [
        f"Unverified source “{source}” (read by {', '.join(read[source])}): "
        f"{_reason(inputs.scenario, source)}"
        for source in unverified_sources(inputs)
    ] or ["No source that an arm reads is unverified."]


def _declared_sentences(inputs: ReportInputs) -> list[str]:
    """One sentence per source that is taken on the configuration's word."""
    read = _readers(inputs)
    sentences = []
    for source, answers in inputs.scenario.knowledge.answers.items():
        if source not in read:
            continue
        declared = (
            f"Declared source “{source}” (read by {', '.join(read[source])}): the configuration "
        )
        if answers.seen == "training":
            sentences.append(
                declared + "declares it as made from the training part (seen: training). Training "
                "samples were seen by the LLM; only validation and test samples are held to the "
                "leak rule, and prompts are looked up where they are at hand."
            )
        elif answers.collective and answers.groups_verified:
            sentences.append(
                declared + "declares its groups as built from interactions before k_u only "
                "(groups_verified); this is not checked."
            )
    return sentences


def _readers(inputs: ReportInputs) -> dict[str, list[str]]:
    """Source -> the arms of the report that read it; sources that none reads are absent."""
    arms: dict[str, list[str]] = {}
    for arm, scenario in arm_scenarios(inputs.scenario).items():
        for source in scenario.knowledge_sources() if arm in inputs.arms else ():
            arms.setdefault(source, []).append(arm)
    return arms


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
            "nothing says where interactions are in its prompts (history_entry_pattern)"
            if answers.history_entry_pattern is None
            else "not all of its prompts were looked up, as answers came without a prompt or with "
            "one that shows interactions that the user does not have"
        )
        reasons.append(
            f"{missing}, so what the LLM saw of a user rests on the word of whoever made the "
            "answers."
        )
    return " Also, ".join(reasons) or "nothing shows what its answers were made from."


def _article(entity: str) -> str:
    return f"an {entity}" if entity == "item" else f"a {entity}"
