from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report
from trainer.report.inputs import ReportInputs
from trainer.report.protocol import leak_sentences


def report_of(
    unverified: Sequence[str],
    violations: int = 0,
    overrides: Mapping[str, object] | None = None,
) -> ReportInputs:
    report = helpful_report()
    check = {**report.leak["leak_check"], "unverified_sources": list(unverified)}
    return replace(
        report,
        scenario=override_scenario(report.scenario, overrides or {}),
        leak={"leak_violations": violations, "leak_check": check},
    )


def test_a_clean_check_says_what_was_looked_up() -> None:
    sentences = leak_sentences(report_of([]))
    assert sentences[0].startswith("0 violations")
    assert sentences[0].endswith("A violation stops the job before training.")
    assert sentences[1].startswith("For 77 users every interaction that their prompts show was")
    assert "for 3 users samples were compared with k_u alone" in sentences[1]
    assert sentences[2:] == ["No source that an arm reads is unverified."]


def test_violations_forbid_the_use_of_the_results() -> None:
    assert leak_sentences(report_of([], violations=1))[0].startswith("1 sample was seen")
    several = leak_sentences(report_of([], violations=1200))[0]
    assert several.startswith("1,200 samples were seen")
    assert several.endswith("must not be used.")


def test_unverified_item_groups_are_explained_with_the_arms_that_read_them() -> None:
    (sentence,) = leak_sentences(report_of(["item"]))[2:]
    assert sentence.startswith(
        "Unverified source “item” (read by hein, hein_match): its item groups"
    )
    assert "co-ratings of all users" in sentence
    assert "which group an item belongs to is not covered by the leak check" in sentence


def test_unverified_user_prompts_are_explained() -> None:
    report = report_of(["user"], overrides={"knowledge.answers.user.history_entry_pattern": None})
    (sentence,) = leak_sentences(report)[2:]
    assert sentence.startswith("Unverified source “user” (read by hein): nothing says where inter")
    assert "groups" not in sentence


def test_prompts_that_were_not_all_looked_up_are_explained() -> None:
    (sentence,) = leak_sentences(report_of(["user"]))[2:]
    assert sentence.startswith(
        "Unverified source “user” (read by hein): not all of its prompts were looked up"
    )


def test_groups_that_the_configuration_vouches_for_are_declared_and_not_checked() -> None:
    report = report_of([], overrides={"knowledge.answers.item.groups_verified": True})
    declared, unverified = leak_sentences(report)[2:]
    assert declared.startswith("Declared source “item” (read by hein, hein_match): the config")
    assert declared.endswith("this is not checked.")
    assert unverified == "No source that an arm reads is unverified."


def test_a_source_made_from_the_training_part_is_declared_in_words() -> None:
    declared, _ = leak_sentences(
        report_of([], overrides={"knowledge.answers.user.seen": "training"})
    )[2:]
    assert declared.startswith("Declared source “user” (read by hein): the configuration declares")
    assert "only validation and test samples are held to the leak rule" in declared


def test_sources_that_no_arm_reads_are_not_named() -> None:
    report = report_of(
        ["user"],
        overrides={
            "knowledge.sources": ["item"],
            "knowledge.answers.user.history_entry_pattern": None,
        },
    )
    assert leak_sentences(report)[2:] == ["No source that an arm reads is unverified."]
    declared = {"knowledge.sources": ["item"], "knowledge.answers.user.seen": "training"}
    assert len(leak_sentences(report_of([], overrides=declared))) == 3


def test_vectors_made_elsewhere_are_explained() -> None:
    vectors = {"entity": "item", "vectors": ["vectors.npz"]}
    report = report_of(["item"], overrides={"knowledge.answers.item": vectors})
    (sentence,) = leak_sentences(report)[2:]
    assert sentence.endswith(
        "its vectors were made elsewhere, and nothing shows from which interactions."
    )


def test_groups_made_by_this_project_are_no_reason() -> None:
    made = {"entity": "item", "collective": ["answers.jsonl"], "grouping": {}}
    report = report_of(["item"], overrides={"knowledge.answers.item": made})
    (sentence,) = leak_sentences(report)[2:]
    assert "not declared" not in sentence
