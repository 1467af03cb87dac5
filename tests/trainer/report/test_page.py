from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from configs.loading import override_scenario
from tests.trainer.report.synthetic import TEMPLATE, helpful_report, synthetic_report, tuned_report
from trainer.experiments.results import ExperimentResult, Failure
from trainer.report.cells import result_cells
from trainer.report.inputs import ReportInputs
from trainer.report.page import page_html
from trainer.report.table import popularity_slices

SECTIONS = [
    "protocol",
    "results",
    "settings",
    "cost",
    "learning",
    "popularity",
    "gates",
    "leak",
    "steps",
    "serving",
    "reproduce",
]
VOID_ELEMENTS = {"meta", "img", "br", "hr", "link"}


class Outline(HTMLParser):
    """Sections, images, addresses and text of a page; fails on an element that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: list[str | None] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.elements: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.add(tag)
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)
        if tag == "section":
            self.sections.append(found["id"])
        if tag == "img":
            self.images.append(found)
        self.addresses.extend(found[name] or "" for name in ("src", "href") if name in found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(report: ReportInputs) -> str:
    return page_html(report, result_cells(report), popularity_slices(report))


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(synthetic_report(name="<b>films & more</b>"))


def test_all_sections_are_there_with_their_plots(page: str) -> None:
    outline = Outline(page)
    assert outline.sections == SECTIONS
    assert len(outline.images) == 4
    assert all(image["alt"] for image in outline.images)
    assert "$" not in outline.text


def test_links_lead_to_sections_and_nothing_leads_outside(page: str) -> None:
    outline = Outline(page)
    links = [address for address in outline.addresses if address.startswith("#")]
    assert links == [f"#{section}" for section in SECTIONS]
    others = set(outline.addresses) - set(links)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in others)
    assert outline.elements.isdisjoint({"script", "link", "iframe", "object"})
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)


def test_texts_are_escaped(page: str) -> None:
    assert "<b>films" not in page
    assert "<title>Knowledge in CTR models: &lt;b&gt;films &amp; more&lt;/b&gt;</title>" in page


def test_names_and_notes_are_escaped_wherever_they_appear() -> None:
    report = helpful_report()
    experiment = ExperimentResult(
        [replace(run, backbone=f"<i>{run.backbone}") for run in report.experiment.runs],
        [replace(one, backbone=f"<i>{one.backbone}") for one in report.experiment.comparisons],
    )
    answers = {
        **report.scenario.model_dump(mode="json")["knowledge"]["answers"],
        "<i>source": {"entity": "item", "individual": ["answers.jsonl"]},
    }
    sources = {"knowledge.answers": answers, "knowledge.sources": list(answers)}
    page = page_of(
        replace(
            report,
            scenario=override_scenario(report.scenario, sources),
            experiment=experiment,
            leak={
                **report.leak,
                "leak_check": {**report.leak["leak_check"], "unverified_sources": ["<i>source"]},
            },
            steps=[{**report.steps[0], "name": "<i>step"}],
            command="<i>command",
            machine="<i>machine",
            made_at="<i>date",
        )
    )
    assert "<i>" not in page
    for text in ("din", "source", "step", "command", "machine", "date"):
        assert f"&lt;i&gt;{text}" in page


def test_the_figures_are_on_the_page() -> None:
    report = helpful_report()
    text = Outline(page_of(report)).text
    for cell in result_cells(report):
        assert f"{cell.value:.4f}" in text
        assert f"{cell.means['gauc']:.4f}" in text
    for comparison in report.comparisons:
        found = comparison.difference
        assert f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]" in text
    assert "2.4e-7, below the limit of 1e-5" in text
    assert "make demo" in text
    assert "18,680" in text
    assert (
        "entities of the test part that have knowledge, in the model of the first seed (1)" in text
    )
    assert "training interactions (train part and the history before it)" in text


def test_bad_news_is_said_plainly() -> None:
    report = synthetic_report({"none": 0.0, "hein": -1.0})
    failure = Failure("din", "hein_match", "seed 3", "out of <memory>")
    experiment = replace(report.experiment, failures=[failure])
    report = replace(report, experiment=experiment)
    lossy = {**report.steps[0], "records_out": 3000}
    page = page_of(replace(report, steps=[lossy], served_max_abs_difference=3e-4))
    text = Outline(page).text
    assert "Knowledge lowers test AUC in every comparison" in text
    assert "din, hein_match, seed 3: out of <memory>" in text
    assert '<p class="warning">Records are unaccounted for in: encode.</p>' in page
    assert '<p class="warning">Largest absolute difference of checkpoint and served scores' in page
    assert "0.0003, not below the limit of 1e-5" in text


def test_a_baseline_alone_has_a_page_too() -> None:
    report = helpful_report()
    runs = [run for run in report.experiment.runs if run.knowledge == "none" and run.seed == 1]
    alone = replace(
        report,
        experiment=ExperimentResult(runs, []),
        gates={},
        steps=[],
        served_max_abs_difference=None,
    )
    outline = Outline(page_of(alone))
    assert outline.sections == SECTIONS
    assert "No arm was compared with the baseline." in outline.text
    assert "No arm has an adapter with gates and knowledge of the test part." in outline.text
    assert "One seed per model" in outline.text
    assert "parity was not measured" in outline.text


def test_the_template_asks_for_no_outside_resource(repository_root: Path) -> None:
    template = (repository_root / TEMPLATE).read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(|<script|<link", template)


def test_how_settings_were_found_is_shown() -> None:
    assert "No settings were searched" in page_of(helpful_report())
    outline = Outline(page_of(tuned_report()))
    assert len(outline.images) == 5
    assert "training.learning_rate" in outline.text and "0.00125" in outline.text
    assert "2 of 3" in outline.text


def test_an_experiment_alone_has_no_steps() -> None:
    text = Outline(page_of(replace(helpful_report(), steps=[]))).text
    assert "the manifests of its work directory have the counts" in text


def test_many_gates_are_folded_away() -> None:
    report = helpful_report()
    weights = report.gates["din/hein"]
    gates = {f"din/arm{number}": weights for number in range(9)}
    assert "<summary>9 models</summary>" in page_of(replace(report, gates=gates))
    assert "models</summary>" not in page_of(report)
