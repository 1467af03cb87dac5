from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import trainer.report
from configs.documents import render
from configs.loading import override_scenario
from tests.runs import rich_run
from tests.scenarios import rich_scenario
from tests.trainer.report.synthetic import helpful_report, synthetic_report, tuned_report
from tests.trainer.synthetic_results import result_of
from trainer.evaluation.runs import predict_run
from trainer.experiments.results import CellFailure, Comparison, ExperimentResult, RunResult
from trainer.experiments.running import comparisons_of
from trainer.inspection import GateWeights
from trainer.report import render as render_module
from trainer.report import write_report
from trainer.report.inputs import ReportInputs
from trainer.report.render import (
    ReportTable,
    cost_table,
    main_table,
    page_html,
    run_table,
    settings_table,
    slice_table,
    step_table,
    write_experiment_report,
)
from trainer.report.results import example_rankings
from trainer.report.statistics import (
    COLD,
    CellResult,
    PopularitySlice,
    popularity_slices,
    result_cells,
)
from trainer.significance import Difference

SECTIONS = [
    *("results", "rankings", "popularity", "protocol", "settings", "cost", "learning", "gates"),
    *("leak", "steps", "serving", "reproduce"),
]
REPORT = Path(trainer.report.__file__).parent
VOID_ELEMENTS = {"meta", "img", "source", "br", "hr", "link"}


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
        collected = dict(attrs)
        self.elements.add(tag)
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)
        if tag == "section":
            self.sections.append(collected["id"])
        if tag == "img":
            self.images.append(collected)
        self.addresses.extend(
            collected[name] or "" for name in ("src", "srcset", "href") if name in collected
        )

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@contextmanager
def without_plots() -> Iterator[None]:
    """Plots are empty; they take longer than all the rest, and `page` and `written` have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render_module, "image_source", lambda *_: "data:image/svg+xml;base64,")
        yield


def page_of(report: ReportInputs) -> str:
    with without_plots():
        return page_html(report, result_cells(report), popularity_slices(report))


@functools.cache
def helpful_page() -> str:
    return page_of(helpful_report())


@pytest.fixture(scope="module")
def page() -> str:
    report = synthetic_report(name="<b>films & more</b>")
    return page_html(report, result_cells(report), popularity_slices(report))


def test_all_sections_are_there_with_their_plots(page: str) -> None:
    outline = Outline(page)
    assert outline.sections == SECTIONS
    assert len(outline.images) == 4
    assert all(image["alt"] for image in outline.images)
    assert not re.search(r"[{}%]{2}", outline.text)


def test_links_lead_to_sections_and_nothing_leads_outside(page: str) -> None:
    outline = Outline(page)
    links = [address for address in outline.addresses if address.startswith("#")]
    assert links == [f"#{section}" for section in SECTIONS]
    others = set(outline.addresses) - set(links)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in others)
    assert outline.elements.isdisjoint({"script", "link", "iframe", "object"})
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)


def test_a_phone_gets_figures_of_its_own(page: str) -> None:
    pairs = re.findall(
        r'<picture><source media="\(max-width: 700px\)" srcset="([^"]+)"><img src="([^"]+)"', page
    )
    assert len(pairs) == 4 and all(narrow != wide for narrow, wide in pairs)


def test_rankings_are_shown_with_titles_and_moves() -> None:
    report = replace(helpful_report(), titles={})
    rankings = example_rankings(report)
    assert rankings is not None
    first = rankings.users[0]
    named = {item: f"Film <{item}>" for item in report.experiment.runs[0].predictions.item_ids}
    page = page_of(replace(report, titles=named))
    assert page.count('<div class="rankings">') == len(rankings.users) == 5
    assert f"<h4>hein_match: AUC {first.auc_with:.3f}</h4>" in page
    assert f"User 1: {first.items} items, {first.liked} of them liked" in page
    shown = [*first.without, *first.with_knowledge]
    for item in shown:
        mark = ' <span class="mark">liked</span>' if item.liked else ""
        name = f"Film &lt;{item.name}&gt;"
        start = '<li class="liked">' if item.liked else "<li>"
        assert f"{start}{name}{mark}" in page
    moved = next(item for item in shown if item.place < item.place_without)
    assert f'<span class="move">up from {moved.place_without}</span>' in page


def test_texts_are_escaped(page: str) -> None:
    assert "<b>films" not in page
    assert "<title>Knowledge in CTR models: &lt;b&gt;films &amp; more&lt;/b&gt;</title>" in page


def test_names_and_notes_are_escaped_wherever_they_appear() -> None:
    report = helpful_report()
    experiment = ExperimentResult(
        [replace(run, backbone=f"<i>{run.backbone}") for run in report.experiment.runs],
        [replace(one, backbone=f"<i>{one.backbone}") for one in report.experiment.comparisons],
    )
    page = page_of(
        replace(
            report,
            experiment=experiment,
            steps=[{**report.steps[0], "name": "<i>step"}],
            command="<i>command",
            machine="<i>machine",
            made_at="<i>date",
        )
    )
    assert "<i>" not in page
    for text in ("din", "step", "command", "machine", "date"):
        assert f"&lt;i&gt;{text}" in page


def test_the_figures_are_on_the_page() -> None:
    report = helpful_report()
    text = Outline(helpful_page()).text
    for cell in result_cells(report):
        assert f"{cell.value:.4f}" in text
        assert f"{cell.means['gauc']:.4f}" in text
    for comparison in report.comparisons:
        actual = comparison.difference
        assert f"{actual.difference:+.4f} [{actual.low:+.4f}, {actual.high:+.4f}]" in text
    assert "2.4e-7, below the limit of 1e-5" in text
    assert "make demo" in text
    assert "18,680" in text
    assert (
        "entities of the test part that have knowledge, in the model of the first seed (1)" in text
    )
    assert "training interactions (train part and the history before it)" in text


def test_bad_news_is_said_plainly() -> None:
    report = synthetic_report({"none": 0.0, "hein": -1.0})
    failure = CellFailure("din", "hein_match", "seed 3", "out of <memory>")
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


def test_the_template_asks_for_no_outside_resource() -> None:
    template = (REPORT / "report.html.jinja").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(|<script|<link", template)


def test_how_settings_were_found_is_shown() -> None:
    assert "No settings were searched" in helpful_page()
    outline = Outline(page_of(tuned_report()))
    assert len(outline.images) == 5
    assert "training.learning_rate" in outline.text and "0.00125" in outline.text
    assert "2 of 3" in outline.text


def test_an_experiment_alone_has_no_steps_and_many_gates_are_folded_away() -> None:
    report = helpful_report()
    weights = report.gates["din/hein"]
    gates = {f"din/arm{number}": weights for number in range(9)}
    page = page_of(replace(report, steps=[], gates=gates))
    assert "the manifests of its work directory have the counts" in Outline(page).text
    assert "the manifests of its work directory have the counts" not in helpful_page()
    assert "<summary>9 models</summary>" in page
    assert "models</summary>" not in helpful_page()


BETTER = Difference(0.8, 0.812, 0.012, 0.0101, 0.0139, seed_error=0.0004)


def cell(knowledge: str, difference: Difference | None, adjusted_p: float = 0.004) -> CellResult:
    comparison = (
        None if difference is None else Comparison("din", knowledge, difference, adjusted_p)
    )
    return CellResult(
        backbone="din",
        knowledge=knowledge,
        metric="auc",
        means={"auc": 0.805, "logloss": 0.51234, "gauc": 0.70005},
        seed_values=(0.8, 0.81),
        low=0.79,
        high=0.82,
        comparison=comparison,
        train_seconds=12.25,
        epochs=3.5,
        trainable_weights=123_456,
    )


def test_the_main_table() -> None:
    table = main_table([cell("none", None), cell("hein_match", BETTER)])
    assert table.rows == [
        ("din", "none", "0.8050", "0.5123", "0.7000", "0.0071", "–", "–", "–"),
        (
            "din",
            "hein_match",
            "0.8050",
            "0.5123",
            "0.7000",
            "0.0071",
            "+0.0120 [+0.0101, +0.0139] **",
            "+1.50 %",
            "0.004",
        ),
    ]


def test_a_loss_shows_its_sign() -> None:
    worse = Difference(0.8, 0.796, -0.004, -0.006, 0.002)
    assert main_table([cell("hein", worse, adjusted_p=0.31)]).rows[0][-3:] == (
        "-0.0040 [-0.0060, +0.0020]",
        "-0.50 %",
        "0.310",
    )


def test_the_main_table_names_the_metrics_of_its_kind() -> None:
    list_cell = replace(
        cell("none", None), metric="ndcg_at_10", means={"ndcg_at_10": 0.4, "auc": 1}
    )
    assert main_table([list_cell]).header[2:6] == (
        "NDCG@10",
        "AUC",
        "Seeds’ deviation",
        "NDCG@10 difference [95 % interval]",
    )


def test_the_cost_table() -> None:
    table = cost_table([cell("none", None), replace(cell("hein", BETTER), tuning_seconds=61.7)])
    assert table.rows == [
        ("din", "none", "123,456", "3.5", "12.2", "–"),
        ("din", "hein", "123,456", "3.5", "12.2", "62"),
    ]
    assert len(table.header) == 6


def test_the_slice_table_says_where_samples_are_too_few() -> None:
    table = slice_table(
        [
            PopularitySlice("din", "hein", COLD, 1234, 99, BETTER),
            PopularitySlice("din", "hein", COLD, 7, 5, None),
        ]
    )
    assert table.rows[0][2:7] == ("0 (cold)", "1,234", "99", "0.8000", "0.8120")
    assert table.rows[1][2:] == ("0 (cold)", "7", "5", *["too few"] * 4)


def test_the_run_table_has_every_run_once() -> None:
    report = helpful_report()
    rows = run_table(report).rows
    assert [row[:3] for row in rows[:4]] == [
        ("din", "none", "1"),
        ("din", "none", "2"),
        ("din", "none", "3"),
        ("din", "hein", "1"),
    ]
    assert len(rows) == len(report.experiment.runs)
    assert rows[0][4] == f"{report.experiment.runs[0].test['auc']:.4f}"


def test_the_step_table_says_whether_counts_add_up() -> None:
    report = helpful_report()
    lossy = {**report.steps[0], "records_out": 3100}
    table = step_table([*report.steps, lossy])
    assert table.rows[1] == ("examples", "12.9", "100,004", "100,000", "18,680", "4", "yes", "–")
    assert [row[-2] for row in table.rows] == ["yes", "yes", "no, +7"]
    assert step_table([]).rows == []


def test_the_step_table_says_what_was_not_repeated() -> None:
    first, second = helpful_report().steps
    table = step_table([{**first, "skipped": True}, {**second, "reused": 1200}, first])
    assert [row[-1] for row in table.rows] == [
        "unchanged, not repeated",
        "1,200 of 100,000 reused",
        "–",
    ]


def test_all_rows_have_a_text_per_column() -> None:
    report = helpful_report()
    for table in (run_table(report), step_table(report.steps)):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_markdown_aligns_figures_to_the_right_and_escapes_bars() -> None:
    table = ReportTable(("Name", "AUC"), [("a|b", "0.5"), ("c", "0.6")], text_columns=1)
    values = {"headlines": ["Well."], "summary": "All is well.", "main_table": table}
    further = {"settings_table": None, "slice_table": table, "marks_note": "", "warnings": []}
    rows = "| Name | AUC |\n| --- | ---: |\n| a\\|b | 0.5 |\n| c | 0.6 |\n"
    text = render(REPORT / "results.md.jinja", {**values, **further})
    assert text == f"- Well.\n\n{rows}\nAll is well.\n\n{rows}"


Written = tuple[Path, Mapping[str, object]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The folder of a written report, and the results."""
    folder = tmp_path_factory.mktemp("written") / "out" / "report"
    return folder, write_report(folder, helpful_report())


def test_three_files_are_written_and_the_results_returned(written: Written) -> None:
    folder, results = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "results.json",
        "results.md",
    ]
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")


def test_the_markdown_has_summary_main_table_and_slices(written: Written) -> None:
    folder, _ = written
    headlines, main, note, summary, *warnings, slices = (
        (folder / "results.md").read_text(encoding="utf-8").strip().split("\n\n")
    )
    assert [line[:2] for line in headlines.splitlines()] == ["- "] * 3
    assert summary.startswith("Knowledge used as ")
    assert main.startswith("| Backbone | Knowledge | AUC | LogLoss | GAUC |")
    assert len(main.splitlines()) == 2 + 6
    assert note.startswith("p: two-sided, of a paired bootstrap over test users")
    assert all(warning.startswith("Warning: ") for warning in warnings)
    assert len(slices.splitlines()) == 2 + 4 * 5


def test_chosen_settings_stand_between_results_and_slices(tmp_path: Path) -> None:
    with without_plots():
        write_report(tmp_path, tuned_report())
    settings = (tmp_path / "results.md").read_text(encoding="utf-8").strip().split("\n\n")[-2]
    assert settings.startswith("| Backbone | Knowledge | training.learning_rate |")
    assert len(settings.splitlines()) == 2 + 6


def test_writing_again_replaces_the_files(tmp_path: Path, written: Written) -> None:
    folder, results = written
    again = tmp_path / "report"
    shutil.copytree(folder, again)
    (again / "results.json").write_text("old", encoding="utf-8")
    assert write_report(again, helpful_report()) == results
    for name in ("report.html", "results.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_figure_that_is_not_finite_leaves_the_old_report_alone(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    broken = replace(
        helpful_report(),
        gates={"din/hein": GateWeights(1, 2, {"item": np.array([np.nan, 1.0])})},
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path, broken)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "old"


def run_of(backbone: str, arm: str, metric: str) -> RunResult:
    folder = rich_run(backbone).folder.path
    predictions = predict_run(folder, "test")
    metrics = predictions.metrics()
    return dataclasses.replace(
        result_of(backbone, arm),
        folder=folder,
        predictions=predictions,
        validation=metrics,
        test=metrics,
        selection_metric=metric,
        history=[{"epoch": 1.0, "train_loss": 0.5, f"validation_{metric}": 0.3}],
    )


@pytest.mark.parametrize(
    ("backbone", "metric", "title"),
    [
        pytest.param("prm", "ndcg_at_10", "Knowledge in re-rankers: ", marks=pytest.mark.slow),
        ("two_tower", "new_items_recall_at_10", "Knowledge in retrieval models: "),
    ],
)
def test_an_experiment_of_any_kind_has_a_report(
    tmp_path: Path, backbone: str, metric: str, title: str
) -> None:
    experiment = {"backbones": [backbone], "arms": {}, "adapters": ["none", "hein"], "seeds": [1]}
    scenario = override_scenario(rich_scenario(), {"experiment": experiment})
    runs = [run_of(backbone, arm, metric) for arm in ("none", "hein")]
    result = ExperimentResult(runs, comparisons_of(scenario, runs))
    written = write_experiment_report(tmp_path, scenario, result, "make it so")
    assert (written["metric"], written["command"]) == (metric, "make it so")
    (row,) = written["comparisons"]
    assert row["metric"] == metric and "auc_none" not in row
    assert row["difference"] == 0 and row["p_value_holm"] == 1 and not row["significant"]
    assert written["runs"][0]["test"][metric] == runs[0].test[metric]
    assert written["models"][0][metric] == runs[0].test[metric]
    assert written["popularity_slices"] == [] and written["steps"] == []
    assert f"{backbone}/hein" in written["gates"]
    page = (tmp_path / "report.html").read_text()
    assert title in page and "This section is about ranking models." in page
    assert json.loads((tmp_path / "results.json").read_text()) == written
    assert "makes no difference" in (tmp_path / "results.md").read_text()


def test_a_table_marks_names_and_groups() -> None:
    page = helpful_page()
    assert '<th scope="col" class="name">Knowledge</th><th scope="col">AUC</th>' in page
    value = f"{result_cells(helpful_report())[0].value:.4f}"
    assert f'<td class="name">none</td><td>{value}</td>' in page
    # Tables of results, runs, cost and slices set backbones apart; that of steps has no groups.
    assert page.count('<tr class="first-of-group"><td class="name">dcnv2</td>') == 4
    assert page.count('class="first-of-group"') == 4


def test_the_settings_of_every_cell_are_listed() -> None:
    table = settings_table(tuned_report().tuning)
    assert table.header[2:5] == (
        "training.learning_rate",
        "model.dropout_rate",
        "training.batch_size",
    )
    assert table.rows[1] == (
        *("din", "hein", "0.00125", "0.1", "512"),
        *("2 of 3", "2", "0.7120", "0.7020"),
    )
    assert {len(row) for row in table.rows} == {len(table.header)}
