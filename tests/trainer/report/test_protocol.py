from __future__ import annotations

from dataclasses import replace

import pytest

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report
from trainer.report.protocol import arm_entries, protocol_entries


def test_the_protocol_states_data_split_budget_and_intervals() -> None:
    report = helpful_report()
    labels = report.experiment.runs[0].predictions.labels
    entries = dict(protocol_entries(report))
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
    entries = dict(protocol_entries(replace(report, scenario=scenario)))
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
    assert text in dict(protocol_entries(replace(report, scenario=scenario)))["Data"]


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
    assert text in dict(protocol_entries(replace(report, scenario=scenario)))["Split"]


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
