from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

import trainer.report
from configs.documents import render
from configs.experiment import SearchRange
from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report, synthetic_scenario
from trainer.experiments.grid import arm_scenarios
from trainer.experiments.results import Comparison
from trainer.report.inputs import ReportInputs
from trainer.report.protocol import (
    arm_entries,
    budget_entry,
    cautions,
    leak_sentences,
    protocol_values,
    range_text,
)
from trainer.report.results import results_document
from trainer.significance import Difference


def protocol_of(report: ReportInputs) -> dict[str, str]:
    """Term -> what the page says of it."""
    template = Path(trainer.report.__file__).with_name("protocol.html.jinja")
    page = render(template, protocol_values(report))
    entries = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return {unescape(term): " ".join(unescape(text).split()) for term, text in entries}


def test_the_protocol_states_data_split_budget_and_intervals() -> None:
    report = helpful_report()
    labels = report.experiment.runs[0].predictions.labels
    entries = protocol_of(report)
    assert "data/ratings.csv" in entries["Data"]
    assert "rating is at least 4." in entries["Data"]
    assert f"1,500 samples of 80 users, {100 * labels.mean():.1f} % of them" in entries["Data"]
    assert "By time, 80 : 10 : 10 %" in entries["Split"]
    assert "k_u = min(floor((n + 1) / 2), 30)" in entries["Split"]
    assert "up to 200 interactions" in entries["Same inputs in all arms"]
    assert "newest 30" in entries["Same inputs in all arms"]
    assert "20 at most; " in entries["Same budget in all arms"]
    assert "validation part alone" in entries["Selection"]
    assert entries["Seeds"].startswith("1, 2, 3;")
    assert "200 resamples" in entries["Intervals"]


def test_the_protocol_follows_the_scenario() -> None:
    report = helpful_report()
    scenario = override_scenario(
        report.scenario,
        {"split.by": "user", "training.learning_rate": 0.0005, "split.fractions": [0.7, 0.2, 0.1]},
    )
    entries = protocol_of(replace(report, scenario=scenario))
    assert "By user, 70 : 20 : 10 %: every user belongs to one part" in entries["Split"]
    assert "learning rate 0.0005" in entries["Same budget in all arms"]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"label": "click"}, "positive when its column 'click' says so."),
        ({"rating": None}, "an interaction; 2 negatives each are items without an interaction"),
    ],
)
def test_the_protocol_says_what_is_positive(columns: dict[str, str | None], text: str) -> None:
    report = helpful_report()
    scenario = override_scenario(
        report.scenario,
        {"data.interactions.columns": columns, "data.negatives.per_positive": 2},
    )
    assert text in protocol_of(replace(report, scenario=scenario))["Data"]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"split.by": "global_time"}, "By global time, 80 : 10 : 10 %"),
        (
            {"split.by": "column", "data.interactions.columns.part": "fold"},
            "By a column of the interactions ('fold')",
        ),
    ],
)
def test_the_protocol_names_every_kind_of_split(overrides: dict[str, str], text: str) -> None:
    report = helpful_report()
    scenario = override_scenario(report.scenario, overrides)
    assert text in protocol_of(replace(report, scenario=scenario))["Split"]


def test_arms_are_described_with_what_makes_them() -> None:
    entries = dict(arm_entries(helpful_report()))
    assert entries == {
        "none": "No knowledge. (model.adapter=none, model.match=none)",
        "hein": "Knowledge as fields. Augmented vectors of HEIN as fields, sources: item, user. "
        "(model.adapter=hein, model.match=none)",
        "hein_match": "Augmented vectors of HEIN as fields, sources: item. Knowledge match (means) "
        "on item over the newest 200 interactions. "
        "(model.adapter=hein, model.match=means, knowledge.sources=[item])",
    }


def entry_of(**overrides: object) -> tuple[str, str]:
    """The entry of the synthetic scenario; `training__epochs=3` sets `training.epochs`."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    scenario = override_scenario(synthetic_scenario(), keys)
    return budget_entry(scenario, arm_scenarios(scenario))


def test_every_setting_of_training_and_regularisation_is_listed() -> None:
    term, text = entry_of(
        training__epochs=4,
        training__batch_size=256,
        training__learning_rate=0.003,
        training__schedule="cosine",
        training__embedding_regularization=30,
        training__patience=1,
        model__dropout_rate=0.25,
        model__id_dropout_rate=0.15,
        model__knowledge_dropout_rate=0.06,
        model__hein__dropout_rate=0.07,
    )
    assert term == "Same budget in all arms"
    assert text == (
        "Epochs 4 at most; patience 1 epochs without a better validation result; batch size 256; "
        "optimizer Adam with learning rate 0.003, falling to 0 along a cosine over all epochs; "
        "L2 factor on the id embeddings of a batch 30; dropout 0.25; id dropout 0.15; knowledge "
        "dropout 0.06; expert dropout 0.07. Knowledge dropout acts on arms with an adapter, "
        "expert dropout on arms with HEIN. No settings were searched."
    )


def test_it_is_said_when_hidden_ids_hide_more() -> None:
    hiding = entry_of(model__id_dropout_hides="interactions")[1]
    assert "; id dropout 0.1, of all that interactions tell; knowledge dropout" in hiding


def test_a_constant_learning_rate_is_called_so() -> None:
    assert "Adam with learning rate 0.001, kept constant" in entry_of()[1]


def test_an_arm_with_settings_of_its_own_is_named_with_them() -> None:
    arms = {
        "none": {"overrides": {"model.adapter": "none"}},
        "longer": {"overrides": {"training.epochs": 40, "model.dropout_rate": 0.5}},
        "other": {"overrides": {"model.match": "means"}},
    }
    term, text = entry_of(experiment__arms=arms)
    assert term == "Budget, not the same in all arms"
    assert text.endswith(
        "Arm 'longer' differs: epochs 40 at most (not 20 at most); dropout 0.5 (not 0.2)."
    )
    assert "'other'" not in text and "'none'" not in text


def test_further_settings_are_listed_where_they_are_not_the_default() -> None:
    text = entry_of(training__weight_decay=0.01, training__embedding_optimizer="adagrad")[1]
    assert "; embedding optimizer adagrad; weight decay 0.01." in text
    arms = {
        "none": {"overrides": {"model.adapter": "none"}},
        "clipped": {"overrides": {"training.gradient_clip_norm": 5.0}},
    }
    assert entry_of(experiment__arms=arms)[1].endswith(
        "Arm 'clipped' differs: gradient clip norm 5.0 (not as by default)."
    )


def test_the_tuning_budget_is_that_of_every_cell() -> None:
    text = entry_of(
        experiment__tuning={
            "trials": 12,
            "seed": 4,
            "space": {"training.learning_rate": {"low": 1e-4, "high": 0.01, "log": True}},
        }
    )[1]
    assert (
        "Of each cell (backbone and arm) 12 settings were tried, over the same space "
        "(training.learning_rate 0.0001 to 0.01, logarithmic), with the same search seed (4) and "
        "the first training seed (1), and judged on the validation part" in text
    )


def test_ranges_are_described() -> None:
    actual = [
        range_text(SearchRange.model_validate(described))
        for described in (
            {"low": 0, "high": 0.5},
            {"low": 16, "high": 64, "step": 16},
            {"choices": [256, 512]},
        )
    ]
    assert actual == ["0 to 0.5", "16 to 64 in steps of 16", "among 256, 512"]


CLEAR = Difference(0.8, 0.82, 0.02, 0.015, 0.025, 0.001, seed_error=0.001)
NONE: Mapping[str, str] = {}
SCATTERED = Difference(0.8, 0.82, 0.02, -0.01, 0.05, 0.2, seed_error=0.011)


def compared_report(
    *differences: Difference, unverified: Sequence[str] = (), declared: Mapping[str, str] = NONE
) -> ReportInputs:
    check = {"unverified_sources": unverified, "declared_sources": declared}
    report = helpful_report()
    compared = [Comparison("din", "hein", one, 0.01) for one in differences]
    leak = {"leak_violations": 0, "leak_check": {**report.leak["leak_check"], **check}}
    experiment = replace(report.experiment, comparisons=compared)
    return replace(report, experiment=experiment, leak=leak)


def test_clear_differences_need_no_caution() -> None:
    assert cautions(compared_report(CLEAR)) == []
    assert cautions(compared_report()) == []


def test_a_single_seed_is_a_caution() -> None:
    (text,) = cautions(compared_report(CLEAR, replace(CLEAR, seed_error=math.nan)))
    assert text.startswith("Seeds are not covered")


def test_scattered_seeds_say_how_to_train_five() -> None:
    (text,) = cautions(compared_report(SCATTERED, CLEAR))
    assert "of din 'hein' is less than two standard errors of its seeds" in text
    assert "experiment.seeds=[1,2,3,4,5]" in text


def test_runs_that_were_not_trained_to_their_end_are_named() -> None:
    report = compared_report(CLEAR)
    runs = [
        replace(run, undertrained=run.knowledge == "none" and run.seed < 3)
        for run in report.experiment.runs
    ]
    report = replace(report, experiment=replace(report.experiment, runs=runs))
    (text,) = cautions(report)
    assert "din 'none' (2 of 3 runs), dcnv2 'none' (2 of 3 runs)" in text
    assert "experiment.tune_baseline" in text
    assert results_document(report, [], [])["warnings"] == [text]


def test_many_models_are_counted() -> None:
    report = compared_report(CLEAR)
    runs = [replace(run, undertrained=True) for run in report.experiment.runs]
    (text,) = cautions(replace(report, experiment=replace(report.experiment, runs=runs)))
    assert "6 of 6 models, in the arms none, hein, hein_match." in text


def test_sources_that_arms_read_are_named_when_nothing_shows_what_the_llm_saw() -> None:
    report = compared_report(
        CLEAR, unverified=["item", "nobody_reads"], declared={"user": "training"}
    )
    unverified, declared = cautions(report)
    assert unverified.startswith("unverified sources: item: nothing shows")
    assert declared.startswith("sources declared to be made from the training part: user:")
    assert cautions(compared_report(CLEAR, unverified=["nobody_reads"])) == []


def leak_report_of(
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
    sentences = leak_sentences(leak_report_of([]))
    assert sentences[0].startswith("0 violations")
    assert sentences[0].endswith("A violation stops the job before training.")
    assert sentences[1].startswith("For 77 users every interaction that their prompts show was")
    assert "for 3 users samples were compared with k_u alone" in sentences[1]
    assert sentences[2:] == ["No source that an arm reads is unverified."]


def test_violations_forbid_the_use_of_the_results() -> None:
    assert leak_sentences(leak_report_of([], violations=1))[0].startswith("1 sample was seen")
    several = leak_sentences(leak_report_of([], violations=1200))[0]
    assert several.startswith("1,200 samples were seen")
    assert several.endswith("must not be used.")


def test_unverified_item_groups_are_explained_with_the_arms_that_read_them() -> None:
    (sentence,) = leak_sentences(leak_report_of(["item"]))[2:]
    assert sentence.startswith(
        "Unverified source “item” (read by hein, hein_match): its item groups"
    )
    assert "co-ratings of all users" in sentence
    assert "which group an item belongs to is not covered by the leak check" in sentence


def test_unverified_user_prompts_are_explained() -> None:
    report = leak_report_of(
        ["user"], overrides={"knowledge.answers.user.history_entry_pattern": None}
    )
    (sentence,) = leak_sentences(report)[2:]
    assert sentence.startswith("Unverified source “user” (read by hein): nothing says where inter")
    assert "groups" not in sentence


def test_prompts_that_were_not_all_looked_up_are_explained() -> None:
    (sentence,) = leak_sentences(leak_report_of(["user"]))[2:]
    assert sentence.startswith(
        "Unverified source “user” (read by hein): not all of its prompts were looked up"
    )


def test_groups_that_the_configuration_vouches_for_are_declared_and_not_checked() -> None:
    report = leak_report_of([], overrides={"knowledge.answers.item.groups_verified": True})
    declared, unverified = leak_sentences(report)[2:]
    assert declared.startswith("Declared source “item” (read by hein, hein_match): the config")
    assert declared.endswith("this is not checked.")
    assert unverified == "No source that an arm reads is unverified."


def test_a_source_made_from_the_training_part_is_declared_in_words() -> None:
    declared, _ = leak_sentences(
        leak_report_of([], overrides={"knowledge.answers.user.seen": "training"})
    )[2:]
    assert declared.startswith("Declared source “user” (read by hein): the configuration declares")
    assert "only validation and test samples are held to the leak rule" in declared


def test_sources_that_no_arm_reads_are_not_named() -> None:
    report = leak_report_of(
        ["user"],
        overrides={
            "knowledge.sources": ["item"],
            "knowledge.answers.user.history_entry_pattern": None,
        },
    )
    assert leak_sentences(report)[2:] == ["No source that an arm reads is unverified."]
    declared = {"knowledge.sources": ["item"], "knowledge.answers.user.seen": "training"}
    assert len(leak_sentences(leak_report_of([], overrides=declared))) == 3


def test_vectors_made_elsewhere_are_explained() -> None:
    vectors = {"entity": "item", "vectors": ["vectors.npz"]}
    report = leak_report_of(["item"], overrides={"knowledge.answers.item": vectors})
    (sentence,) = leak_sentences(report)[2:]
    assert sentence.endswith(
        "its vectors were made elsewhere, and nothing shows from which interactions."
    )


def test_groups_made_by_this_project_are_no_reason() -> None:
    made = {"entity": "item", "collective": ["answers.jsonl"], "grouping": {}}
    report = leak_report_of(["item"], overrides={"knowledge.answers.item": made})
    (sentence,) = leak_sentences(report)[2:]
    assert "not declared" not in sentence
