from __future__ import annotations

import copy
import gzip
import hashlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from configs.command_line import CommandError
from configs.loading import load_scenario
from examples.evidence.__main__ import main
from examples.evidence.pages import kernels_text, page_plots, page_text
from examples.evidence.plots import _draw_frontier, _draw_panel, _Point, differences_plot
from examples.evidence.study import (
    _OVER_TITLES,
    MOVIELENS_1M,
    MUSIC,
    PARTS,
    RESULTS,
    SAMPLE,
    Part,
    Request,
    StudyData,
    _all_pairs,
    _asked,
    _not_compared,
    _numbers,
    _over_models,
    _with_measured_before,
    _write_scenario,
    processor_name,
)
from tests.examples.evidence import FILMS
from tests.trainer.synthetic_results import result_of
from trainer.experiments.grid import arm_scenarios
from trainer.experiments.results import ExperimentResult, RunResult
from trainer.predictions import SamplePredictions, compare_predictions
from trainer.significance import Difference


@pytest.mark.parametrize("data", [MOVIELENS_1M, MUSIC, SAMPLE], ids=lambda data: data.config.stem)
def test_the_scenario_has_the_arms_of_every_part(data: StudyData):
    arms = load_scenario(data.config, for_all_arms=True).experiment.arms
    parts = [part for part in PARTS.values() if part.data is data]
    for part in parts:
        assert {name for pair in part.pairs for name in pair} <= set(part.all_arms)
        assert not part.slices or {*part.sliced_arms} <= {*part.all_arms}
    assert {arm for part in parts for arm in part.arms} == set(arms)


@pytest.mark.parametrize("name", PARTS)
def test_the_arms_of_a_part_are_different_models(name: str, tmp_path: Path):
    request = Request(name, data=None, out=tmp_path)
    (tmp_path / "scenario").mkdir()
    written = _write_scenario(request, PARTS[name], tmp_path / "scenario")
    scenario = load_scenario(written, for_all_arms=True)
    assert set(arm_scenarios(scenario)) == set(PARTS[name].arms)
    assert scenario.work_dir == str(tmp_path / "scenario")


def rows_of(page: str, first: str) -> list[list[str]]:
    """Cells of the lines of all tables that begin with a cell."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith(f"| {first} |")
    ]


def test_a_page_says_what_its_result_file_says(tmp_path: Path):
    def model(backbone: str, arm: str, *auc: float) -> dict[str, object]:
        metrics = {name: list(auc) for name in ("validation_auc", "auc", "logloss", "gauc")}
        command = f"make {backbone}"
        return {
            "backbone": backbone,
            "arm": arm,
            "undertrained": False,
            "overrides": {},
            "command": command,
            **metrics,
        }

    def compared(
        backbone: str, baseline: str, arm: str, before: float, difference: float, p: float
    ):
        return {
            "backbone": backbone,
            "baseline": baseline,
            "arm": arm,
            "baseline_auc": before,
            "arm_auc": before + difference,
            "difference": difference,
            "low": difference - 0.001,
            "high": difference + 0.002,
            "relative_lift": difference / before,
            "covers_seeds": True,
            "p_holm": p,
        }

    over_none = [
        compared("din", "none", "links", 0.8, 0.016, 0.0004),
        compared("dcnv2", "none", "links", 0.8, 0.008, 0.02),
    ]
    one_slice = {"slice": "item_popularity", "group": "1-4", "samples": 1234, "users": 56}
    document = {
        "part": "main",
        "question": "What does it add?",
        "made_on": "2026-01-02",
        "machine": "Linux, 2 cores",
        "data": {"train": 8, "validation": 1, "test": 1, "users": 4, "films": 3, "new_films": 0},
        "answers": {},
        "seeds": [1, 2],
        "resamples": 40000,
        "training": {"epochs": 4, "learning_rate": 0.003},
        "models": [
            model("din", "none", 0.79, 0.81),
            model("din", "links", 0.815, 0.817),
            model("dcnv2", "none", 0.8, 0.8),
            model("dcnv2", "links", 0.808, 0.808),
        ],
        "missing": ["dien none"],
        "comparisons": [*over_none, compared("din", "title_genres", "links", 0.81, 0.006, 0.009)],
        "over_models": [
            {**compared("all", "none", "links", 0.8, 0.012, 0.003), "backbones": ["dcnv2", "din"]}
        ],
        "slices": [{**over_none[0], **one_slice}],
    }
    path = tmp_path / "main.json"
    path.write_text(json.dumps(document))
    page = page_text(path)
    assert "`make din`, `make dcnv2`, 2026-01-02" in page
    assert "Not trained yet: 1 of 5 models." in page and "epochs 4, learning_rate 0.003" in page
    change = "+0.0160 [+0.0150, +0.0180]"
    din = rows_of(page, "din")
    assert din[0] == ["din", "`none`", "0.8000", "0.0141", "0.8000", "0.8000", "–", "–", "–"]
    assert din[1][:2] == ["din", "`links`"] and din[1][6:] == [change, "+2.00 %", "< 0.001"]
    assert din[2] == [
        *("din", "`links`", "`title_genres`", "+0.0060 [+0.0050, +0.0080]", "+0.74 %", "0.009")
    ]
    over_models = ["`links`", "`none`", "2", "+1.50 %", "+1.00 %", "+2.00 %", "1"]
    of_mean = ["+0.0120 [+0.0110, +0.0140]", "0.003"]
    assert rows_of(page, "`links`") == [[*over_models, *of_mean]]
    assert "Holm's correction for the\n1 of them:" in page
    path.write_text(json.dumps(document | {"over_models": []}))
    alone = page_text(path)
    assert rows_of(alone, "`links`") == [over_models] and "Over all models:" in alone
    assert rows_of(page, "1-4") == [["1-4", "1,234", "56", "0.8000", "0.8160", change]]
    assert [*page_plots(path)] == [tmp_path / "main.svg"] and "(main.svg)" in page
    path.write_text(json.dumps(document | dict.fromkeys(("comparisons", "slices"), [])))
    assert page_plots(path) == {}
    assert "nothing is compared" in page_text(path) and "svg" not in page_text(path)


def test_a_page_of_another_metric(tmp_path: Path):
    recall = {"new_items_recall_at_10": [0.125], "recall_at_10": [0.0625], "mrr": [0.03]}
    change = {"baseline": "none", "arm": "links_fields", "difference": 0.025, "low": -0.01}
    change |= {"high": 0.06, "relative_lift": 0.25, "covers_seeds": False, "p_holm": 0.5}
    change |= {"baseline_new_items_recall_at_10": 0.1, "arm_new_items_recall_at_10": 0.125}
    counts = {"train": 8000, "validation": 9, "test": 9, "listeners": 4, "artists": 30}
    model = {"backbone": "two_tower", "arm": "links_fields", "command": "run", "overrides": {}}
    document = {
        "part": "music_retrieval",
        "question": "What does it add?",
        "made_on": "2026-01-02",
        "machine": "Linux, 2 cores",
        "data": {**counts, "new_artists": 3},
        "answers": {},
        "seeds": [1],
        "resamples": 20,
        "training": {"epochs": 4},
        "models": [{**model, "undertrained": False, **recall}],
        "missing": [],
        "comparisons": [{"backbone": "two_tower", **change}],
        "over_models": [],
        "slices": [
            {"backbone": "two_tower", **change, "slice": "cold_item", "group": "cold"}
            | {"samples": 1234, "users": 56}
        ],
    }
    path = tmp_path / "music_retrieval.json"
    path.write_text(json.dumps(document))
    page = page_text(path)
    assert "4 listeners in three parts, with 8,000 (training)" in page
    assert "30 artists, 3 of which training never saw. No ratings" in page
    interval = "+0.0250 [-0.0100, +0.0600]"
    header = ["model", "arm", "recall@10 among new items", "deviation of seeds", "recall@10", "MRR"]
    assert rows_of(page, "model")[0][:6] == header
    assert rows_of(page, "two_tower") == [
        ["two_tower", "`links_fields`", "0.1250", "–", "0.0625", "0.0300", interval]
        + ["+25.00 %", "one seed"]
    ]
    assert rows_of(page, "cold") == [["cold", "1,234", "56", "0.1000", "0.1250", interval]]


def page_of(part: str, folder: Path, models: list[dict[str, Any]]) -> str:
    """The page of a part that compares nothing."""
    scores = {"auc": [0.8], "logloss": [0.5], "gauc": [0.7], "backbone": "din", "command": "run"}
    scores |= {"undertrained": False, "overrides": {}}
    document = {
        "part": part,
        "question": "What does it add?",
        "made_on": "2026-01-02",
        "machine": "Linux, 2 cores",
        "data": {"train": 8, "validation": 1, "test": 1, "users": 4, "films": 3, "new_films": 0},
        "answers": {},
        "seeds": [1],
        "resamples": 20,
        "training": {"epochs": 4},
        "models": [{**scores, **model} for model in models],
        "missing": [],
        "comparisons": [],
        "over_models": [],
        "slices": [],
    }
    path = folder / f"{part}.json"
    path.write_text(json.dumps(document))
    return page_text(path)


def test_a_page_has_the_settings_that_each_arm_found(tmp_path: Path):
    found = [{"training.learning_rate": rate, "model.dropout_rate": 0.2} for rate in (0.00123, 1)]
    models = [
        {"arm": arm, "settings": settings}
        for arm, settings in zip(("none", "hein"), found, strict=True)
    ]
    page = page_of("tuned", tmp_path, models)
    assert "All arms have the same inputs\n(epochs 4, but for what is searched)" in page
    header = "| model | arm | training.learning_rate | model.dropout_rate |"
    lines = page.splitlines()
    start = lines.index(header)
    assert lines[start + 1 : start + 4] == [
        "| --- | --- | ---: | ---: |",
        "| din | `none` | 0.00123 | 0.2 |",
        "| din | `hein` | 1 | 0.2 |",
    ]
    assert not lines[start + 4]


def test_a_page_has_what_the_llm_was_asked_for(tmp_path: Path):
    arm = "links_title_genres"
    models = [{"arm": arm, "answers": 3706, "answer_tokens": 123456}]
    page = page_of("cost", tmp_path, models)
    assert "2026-01-02, Linux, 2 cores. Written by" in page
    assert rows_of(page, f"`{arm}`") == [[f"`{arm}`", "3,706", "123,456"]]
    assert "All arms have the same inputs and settings\n(epochs 4)" in page
    assert "svg" not in page


def test_a_page_names_settings_of_some_arms_and_models_that_still_rose(tmp_path: Path):
    overrides = {
        "none": {},
        "links": {"model.match": "ridge", "model.knowledge_match.sources": ["links"]},
        "collaborative": {"model.match": "ridge", "model.knowledge_match.dropout_rate": 0.2},
    }
    rose = {("din", "none"), ("din", "links")}
    models = [
        {"backbone": name, "arm": arm, "overrides": own, "undertrained": (name, arm) in rose}
        for name in ("din", "dcnv2")
        for arm, own in overrides.items()
    ]
    page = page_of("main", tmp_path, models)
    assert "the same inputs and settings, but for those named below\n(epochs 4)" in page
    assert "\n`model.knowledge_match.dropout_rate` is 0.2 in `collaborative`.\n" in page
    assert "| din | `none` † |" in page and "| dcnv2 | `none` |" in page
    assert "for 2 of 6 models, 1 of 2 of `none`" in page


def test_a_page_names_the_processors_that_are_known(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 207\nmodel name\t: A 9: B\n" * 2)
    assert processor_name(cpuinfo) == "A 9: B"
    assert processor_name(tmp_path / "none") == ""
    models = [
        {"arm": "none"},
        *({"arm": "hein", "processor": name} for name in ("A", "B", "A", "")),
    ]
    page = page_of("cost", tmp_path, [{"answers": 1, "answer_tokens": 2, **row} for row in models])
    assert "Linux, 2 cores, A (2 of 5 models), B (1 of 5 models). Written by" in page
    assert "of the first" not in page


@pytest.mark.parametrize(("processor", "says"), [("A", False), ("B", True)])
def test_a_page_says_that_models_were_trained_again(tmp_path: Path, processor: str, says: bool):
    models = [{"arm": arm, "processor": "A"} for arm in ("none", "hein")]
    row = interval("hein", 0.01, 0.005, 0.02, covers_seeds=True, p_holm=0.5, processor=processor)
    page_of("main", tmp_path, models)
    path = tmp_path / "main.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"comparisons": [row]}))
    page = page_text(path)
    assert ("A model that was trained on two processors has the AUC of the first." in page) is says
    assert ("by 0.002 at most" in page) is says
    assert rows_of(page, "din")[1][-3:] == ["+0.0100 [+0.0050, +0.0200]", "+1.25 %", "0.500"]


def test_the_pages_say_what_their_result_files_say(repository_root: Path):
    found = {results.stem: results for results in (repository_root / RESULTS).glob("*.json")}
    probed = found.pop("kernels", None)
    if probed is not None:
        assert probed.with_suffix(".md").read_text(encoding="utf-8") == kernels_text(probed)
    assert found
    for results in found.values():
        assert results.with_suffix(".md").read_text(encoding="utf-8") == page_text(results)
        for path, image in page_plots(results).items():
            drawn, expected = (shapes_of(svg) for svg in (path.read_bytes(), image))
            assert drawn[0] == expected[0], path.name
            np.testing.assert_allclose(drawn[1], expected[1], atol=0.5, err_msg=path.name)


def shapes_of(svg: bytes) -> tuple[str, np.ndarray]:
    """An image without its numbers and names of shapes that depend on them, and the numbers."""
    text = re.sub(r"#?[a-z][0-9a-f]{10}", "", svg.decode())
    number = re.compile(r"-?\d+\.\d+")
    return number.sub("", text), np.array(number.findall(text), float)


def interval(
    arm: str, difference: float, low: float, high: float, **more: object
) -> dict[str, Any]:
    row = {"backbone": "din", "baseline": "none", "arm": arm, "difference": difference}
    return {**row, "low": low, "high": high, "relative_lift": difference / 0.8, **more}


def drawn_lines(axes: Axes) -> list[tuple[list[float], list[list[float]]]]:
    """Of each series the points, and the ends of their intervals."""
    return [
        (list(bars[0].get_xdata()), [list(ends[:, 0]) for ends in bars[2][0].get_segments()])
        for bars in axes.containers
    ]


def test_a_plot_has_every_difference_and_its_interval():
    points = [
        _Point("din", "links", interval("links", 0.01, 0.005, 0.02)),
        _Point("dcnv2", "links", interval("links", 0.02, 0.03, 0.04)),
        _Point("din", "titles", interval("titles", -0.01, -0.015, 0.0)),
    ]
    axes = Figure().subplots()
    _draw_panel(axes, points)
    assert drawn_lines(axes) == [
        # A percentile interval may leave out the difference itself.
        ([0.01, 0.02], [[0.005, 0.02], [0.02, 0.04]]),
        ([-0.01], [[-0.015, 0.0]]),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["din", "dcnv2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["links", "titles"]


def test_a_plot_of_a_part_shows_what_there_is():
    few, some = ({"slice": "cold_item", "group": group, "samples": n} for group, n in GROUPS)
    document = {
        "comparisons": [interval("links", 0.01, 0.005, 0.02)],
        "over_models": [],
        "slices": [
            interval("links", 0.3, -0.2, 0.4, **few),
            interval("links", 0.02, 0.01, 0.03, **some),
        ],
    }
    text = differences_plot(document, "auc", "none").decode()
    assert "over none" in text and "over other arms" not in text
    assert "din, by cold_item (of 500 samples or more)" in text
    assert "known" in text and ">new<" not in text


GROUPS = [("new", 499), ("known", 500)]


def test_long_names_of_a_pair_stand_on_two_lines():
    short, long = "links_title_genres", "collaborative_title_genres_links_prior_hidden"
    document = {
        "comparisons": [
            interval(arm, 0.01, 0.005, 0.02, baseline="title_genres") for arm in (short, long)
        ],
        "over_models": [],
        "slices": [],
    }
    text = differences_plot(document, "auc", "none").decode()
    assert f">{short} over title_genres<" in text
    assert f">{long}<" in text and ">over title_genres<" in text


def test_the_frontier_has_lift_by_tokens():
    tokens = {"title_genres": 0, "links_1": 2000, "links": 16000}
    document = {
        "models": [{"arm": arm, "answer_tokens": count} for arm, count in tokens.items()],
        "comparisons": [
            interval("links_1", 0.004, 0.002, 0.006, baseline="titles", baseline_auc=0.8),
            interval("links", 0.008, 0.004, 0.012, baseline="titles", baseline_auc=0.8),
        ],
    }
    axes = Figure().subplots()
    _draw_frontier(axes, document, "titles", {"names": ("links_1", "links", "not trained")})
    (bars,) = axes.containers
    assert list(bars[0].get_xdata()) == [2, 16]
    np.testing.assert_allclose(bars[0].get_ydata(), [0.5, 1.0])
    ends = [segment[:, 1] for segment in bars[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0.25, 0.75], [0.5, 1.5]])


def test_what_has_no_interval_is_no_result() -> None:
    nothing = Difference(0.8, 0.81, 0.01, math.nan, math.nan)
    with pytest.raises(CommandError, match="no interval of auc: fewer than 10 test users"):
        _numbers(PARTS["main"], nothing)


def test_a_part_by_the_command(tmp_path, capsys, source):
    """A part in small, from ratings to its page; what is there is not trained again."""
    tree = yaml.safe_load(MOVIELENS_1M.config.read_text(encoding="utf-8"))
    tree["training"] |= {"epochs": 1, "batch_size": 64}
    tree["knowledge"]["encoder"] = {"kind": "tfidf"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree))
    words = ["run", "main", "--data", str(source), "--out", str(tmp_path / "out"), "--json"]
    words += ["--config", str(tmp_path / "study.yaml"), "--results", str(tmp_path / "results")]
    words += [
        "--backbones",
        "din",
        "--arms",
        "links_title_genres",
        "--seeds",
        "1",
        "--resamples",
        "20",
    ]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(model["backbone"], model["arm"]) for model in document["models"]] == [
        ("din", "none"),
        ("din", "links_title_genres"),
    ]
    assert {model["command"] for model in document["models"]} == {
        "python -m examples.evidence run main --backbones din --arms links_title_genres --seeds 1 "
        "--resamples 20"
    }
    assert {model["processor"] for model in document["models"]} == {processor_name()}
    assert "dien none" in document["missing"]
    (row,) = document["comparisons"]
    before, after = (model["auc"][0] for model in document["models"])
    assert (row["baseline"], row["arm"]) == ("none", "links_title_genres")
    assert row["difference"] == pytest.approx(after - before, abs=2e-6)
    assert not row["covers_seeds"]
    assert {row["slice"] for row in document["slices"]} == {"item_popularity", "user_activity"}
    page = (tmp_path / "results/main.md").read_text()
    assert "one seed" in page and "| din | `links_title_genres`" in page
    others = ["title_genres" if word == "links_title_genres" else word for word in words]
    assert main(others) == 0
    output = capsys.readouterr()
    more = json.loads(output.out)
    assert [model["arm"] for model in more["models"]] == [
        *("none", "title_genres", "links_title_genres")
    ]
    assert [model["command"] for model in more["models"]][2] == document["models"][1]["command"]
    assert more["comparisons"][1] == row | {"p_holm": more["comparisons"][1]["p_holm"]}
    assert (
        "not compared: din links_title_genres over title_genres; ask for both in one run"
        in output.err
    )
    assert main([*words[:-1], "21"]) == 2
    message = capsys.readouterr().err
    assert "main.json has of din title_genres: it is about other resamples." in message
    place = words.index("--seeds")
    others = ["--seeds", "2", "--resamples", "21"]
    assert main([*words[:place], "none", "title_genres", *others]) == 0
    document = json.loads(capsys.readouterr().out)
    # Rows of other seeds, which may be as good as the same, do not stand beside these.
    assert (document["seeds"], document["resamples"]) == ([2], 21)
    assert {model["arm"]: model["overrides"] for model in document["models"]} == {
        arm: tree["experiment"]["arms"][arm]["overrides"]
        for arm in ("none", "title_genres", "links_title_genres")
    }
    assert document["settings"]["model"] == tree["model"]
    # Models of other settings, or of arms that change something else, do not stand beside these.
    alone = [word for word in words[:place] if word != "links_title_genres"]
    alone += ["title_genres", *others]
    experiment = copy.deepcopy(tree["experiment"])
    experiment["arms"]["links_title_genres"]["overrides"]["model.match"] = "means"
    for changed, told in (
        ({"model": tree["model"] | {"dropout_rate": 0.5}}, "other settings"),
        ({"experiment": experiment}, "other overrides of the arm"),
    ):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree | changed))
        assert main(alone) == 2
        message = capsys.readouterr().err
        assert f"main.json has of din links_title_genres: it is about {told}. " in message
    assert len(document["comparisons"]) == 3
    for now, before in zip(document["models"], more["models"], strict=True):
        assert len(now["auc"]) == 1 and now["auc"] != before["auc"]

    read = (tmp_path / "out/movielens_1m/data/prose/answers.jsonl").read_bytes()
    assert document["answers"]["prose"] == hashlib.sha256(read).hexdigest()
    with gzip.open(source / "answers/item_prose.jsonl.gz", "rt") as file:
        prose = file.read()
    with gzip.open(source / "answers/item_prose.jsonl.gz", "wt") as file:
        file.write(prose.replace("lighthouse", "bridge"))
    assert main([*words[:place], *others]) == 2
    message = capsys.readouterr().err
    assert "main.json has of din title_genres: it is about other answers." in message


def of_models(measured: dict[tuple[str, str], float], part: Part) -> dict[str, Any]:
    """A document of models with their AUCs, of which every pair is compared."""

    def row(backbone: str, baseline: str, arm: str, **more: object) -> dict[str, Any]:
        return {"backbone": backbone, "baseline": baseline, "arm": arm, **more}

    pairs = [
        (backbone, baseline, arm)
        for backbone, arm in measured
        for baseline in ("none", "title_genres", "collaborative")
        if (baseline, arm) in _all_pairs(part) and (backbone, baseline) in measured
    ]
    backbones = list(dict.fromkeys(backbone for backbone, _ in measured))
    several = {pair[1:] for pair in pairs if sum(pair[1:] == other[1:] for other in pairs) > 1}
    return {
        "models": [
            {"backbone": backbone, "arm": arm, "auc": [auc]}
            for (backbone, arm), auc in measured.items()
        ],
        "comparisons": [row(*pair) for pair in pairs],
        "over_models": [row("all", *pair, backbones=backbones) for pair in sorted(several)],
        "slices": [row(*pair, group=group) for pair in pairs for group in ("few", "many")],
    }


def compared_in(document: dict[str, Any], name: str) -> list[str]:
    return [" ".join((row["backbone"], row["baseline"], row["arm"])) for row in document[name]]


def test_what_was_measured_before_stays_beside_it():
    part = PARTS["main"]
    din = {("din", "none"): 0.80, ("din", "title_genres"): 0.81}
    dcnv2 = {("dcnv2", "none"): 0.82, ("dcnv2", "title_genres"): 0.83}
    before = of_models(din | dcnv2, part)
    assert compared_in(before, "over_models") == ["all none title_genres"]

    links = {("din", "none"): 0.80, ("din", "links_title_genres"): 0.85}
    document = _with_measured_before(part, of_models(links, part), before)
    assert {(row["backbone"], row["arm"]): row["auc"] for row in document["models"]} == {
        cell: [auc] for cell, auc in (din | links | dcnv2).items()
    }
    compared = ["din none title_genres", "din none links_title_genres", "dcnv2 none title_genres"]
    assert compared_in(document, "comparisons") == compared
    assert compared_in(document, "slices") == [pair for pair in compared for _ in range(2)]
    assert document["over_models"] == before["over_models"]
    assert _not_compared(part, document) == ["din links_title_genres over title_genres"]
    together = of_models(din | links, part)
    assert _not_compared(part, _with_measured_before(part, together, document)) == []


def test_models_over_all_are_of_all_that_were_measured():
    part, arms = PARTS["main"], {"none": 0.80, "title_genres": 0.81}

    def of(*backbones: str) -> dict[str, Any]:
        models = {(name, arm): auc for name in backbones for arm, auc in arms.items()}
        return of_models(models, part)

    before = of("din", "deepfm", "dcnv2")
    fewer = _with_measured_before(part, of("din", "dcnv2"), before)
    assert fewer["over_models"] == before["over_models"] != []
    one_more = _with_measured_before(part, of("fignn"), before)
    assert one_more["over_models"] == []
    every = of("din", "deepfm", "dcnv2", "fignn")
    assert _with_measured_before(part, every, one_more)["over_models"] == every["over_models"]


def test_what_was_compared_with_a_model_that_changed_is_gone(capsys):
    part = PARTS["main"]
    before = of_models(
        {
            ("din", "none"): 0.80,
            ("din", "title_genres"): 0.81,
            ("din", "links_title_genres"): 0.85,
            ("dcnv2", "none"): 0.82,
            ("dcnv2", "title_genres"): 0.83,
        },
        part,
    )
    anew = of_models({("din", "none"): 0.79, ("din", "links"): 0.84}, part)
    document = _with_measured_before(part, anew, before)
    assert "din none has other results than before" in capsys.readouterr().err
    assert _not_compared(part, document) == [
        "din title_genres over none",
        "din links_title_genres over none",
    ]
    assert compared_in(document, "comparisons") == [
        "din none links",
        "din title_genres links_title_genres",
        "dcnv2 none title_genres",
    ]
    assert document["over_models"] == []
    assert len(document["models"]) == 6


@pytest.mark.parametrize(("auc", "stays"), [(0.8009, True), (0.8011, False)], ids=["near", "far"])
def test_another_processor_adds_comparisons(auc: float, stays: bool):
    """What only rounds otherwise stays, with what it was compared with."""
    part = PARTS["main"]
    before = of_models({("din", "none"): 0.80, ("din", "title_genres"): 0.81}, part)
    anew = of_models({("din", "none"): auc, ("din", "links"): 0.84}, part)
    for document in (before, anew):
        for row in document["models"] + document["comparisons"]:
            row["processor"] = "A" if document is before else "B"
    document = _with_measured_before(part, anew, before)
    titles = ("din none title_genres", "A")
    assert [
        (name, row["processor"])
        for name, row in zip(
            compared_in(document, "comparisons"), document["comparisons"], strict=True
        )
    ] == [*([titles] if stays else []), ("din none links", "B")]
    none = {"auc": [0.80], "processor": "A"} if stays else {"auc": [auc], "processor": "B"}
    assert document["models"][0] == {"backbone": "din", "arm": "none", **none}


def test_what_a_part_no_longer_has_is_left_out():
    part = PARTS["main"]
    kept = {("din", "none"): 0.80, ("din", "title_genres"): 0.81}
    gone = {("gone", "none"): 0.70, ("gone", "title_genres"): 0.71}
    of_kept = of_models(kept, part)
    assert _with_measured_before(part, of_kept, of_models(kept | gone, part)) == of_kept


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        (["links_title_genres"], ["none", "links_title_genres"]),
        (["links", "prose"], ["none", "prose", "links"]),
        (["prose", "title_genres"], ["title_genres", "prose"]),
        (["prose", "none", "title_genres"], ["none", "title_genres", "prose"]),
    ],
    ids=["one", "not compared", "compared", "with the baseline"],
)
def test_the_baseline_comes_with_arms_that_nothing_else_is_compared_with(
    tmp_path: Path, asked: list[str], trained: list[str]
):
    request = Request("main", data=None, out=tmp_path, arms=asked)
    path = _write_scenario(request, PARTS["main"], tmp_path)
    experiment = load_scenario(path, for_all_arms=True).experiment
    assert ([*experiment.arms], experiment.baseline) == (trained, trained[0])


def test_models_are_compared_together(tmp_path: Path):
    """By differences of runs of one backbone and seed, however far apart the backbones are."""
    part, request = PARTS["main"], Request("main", data=None, out=tmp_path, resamples=200)
    scenario = load_scenario(_write_scenario(request, part, tmp_path), for_all_arms=True)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2000)
    users, noise = np.repeat(np.arange(40).astype(str), 50), generator.normal(size=2000)

    def run(backbone: str, arm: str, seed: int, signal: float) -> RunResult:
        scores = signal * labels + noise + generator.normal(size=2000) / 10
        predictions = SamplePredictions(users, users, labels, scores)
        return replace(result_of(backbone, arm, seed), predictions=predictions)

    signals = {"din": 0.5, "dcnv2": 2.0, "fignn": 1.0}
    arms = {"none": 0.0, "title_genres": 0.1, "links_title_genres": 0.2}
    runs = [
        run(backbone, arm, seed, signal + more)
        for backbone, signal in signals.items()
        for arm, more in arms.items()
        if (backbone, arm) != ("fignn", "title_genres")
        for seed in (1, 2)
    ]
    rows = list(_over_models(request, part, scenario, ExperimentResult(runs, [])))
    titles, links, links_over_titles = rows
    assert {row["backbone"] for row in rows} == {"all"}
    assert links["backbones"] == ["din", "dcnv2", "fignn"]
    assert titles["backbones"] == links_over_titles["backbones"] == ["din", "dcnv2"]
    pairs = [("none", "title_genres"), ("none", "links_title_genres")]
    assert [(row["baseline"], row["arm"]) for row in rows] == [*pairs, _OVER_TITLES]

    def mean_auc(arm: str) -> float:
        scores = [run.predictions.scores for run in runs if run.knowledge == arm]
        return float(np.mean([roc_auc_score(labels, values) for values in scores]))

    assert links["arm_auc"] == pytest.approx(mean_auc("links_title_genres"), abs=1e-6)
    assert links["baseline_auc"] == pytest.approx(mean_auc("none"), abs=1e-6)
    assert links["difference"] == pytest.approx(links["arm_auc"] - links["baseline_auc"], abs=2e-6)
    sides = ([run.predictions for run in runs if run.knowledge == arm] for arm in pairs[1])
    unpaired = compare_predictions(*sides, 200, seed=0)["auc"]
    assert 0 < links["low"] < links["difference"] < links["high"] and unpaired.low < 0
    assert links["high"] - links["low"] < (unpaired.high - unpaired.low) / 4


def test_answers_and_their_tokens_are_counted(tmp_path: Path, source: Path):
    request, part = Request("cost", data=str(source), out=tmp_path), PARTS["cost"]
    folder = tmp_path / part.variant.name
    part.data.write(request.data, part.variant, folder / "data")
    asked = _asked(load_scenario(_write_scenario(request, part, folder), for_all_arms=True))
    assert set(asked) == set(part.arms)
    nothing = {"answers": 0, "answer_tokens": 0}
    assert asked["none"] == asked["title_genres"] == nothing

    def tokens(names: int) -> int:
        lists = [
            [f"Film {(film + step) % FILMS + 1}" for step in (1, 2, 3, 4)[:names]]
            for film in range(1, FILMS + 1)
        ]
        return sum(math.ceil(len(json.dumps({"links": listed})) / 4) for listed in lists)

    for arm, names in (("links_1", 1), ("links_3", 3), ("links", 4)):
        assert asked[f"{arm}_title_genres"] == {"answers": FILMS, "answer_tokens": tokens(names)}
    assert asked["links_popular_50_title_genres"]["answers"] == FILMS // 2


def test_answers_of_groups_are_counted(tmp_path: Path, repository_root: Path):
    request, part = Request("extraction", data=None, out=tmp_path), PARTS["extraction"]
    part.data.write(request.data, part.variant, tmp_path / "data")
    written = _write_scenario(request, part, tmp_path)
    asked = _asked(load_scenario(written, for_all_arms=True))
    # Lines of the bundled files.
    answers = {"collective": 191, "individual": 2245, "individual_collective": 191 + 2245}
    answers |= {"none": 0, "title_genres": 0, "links": 9061}
    assert {arm: counts["answers"] for arm, counts in asked.items()} == answers
    path = repository_root / "examples/movielens_small/answers/item_collective.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        letters = [len(json.loads(line)["answer"]) for line in lines]
    tokens = sum(math.ceil(count / 4) for count in letters)
    assert asked["collective"]["answer_tokens"] == tokens


def test_an_arm_of_another_part_is_refused(tmp_path, capsys, source):
    words = [
        "run",
        "main",
        "--data",
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--arms",
        "links_mined",
    ]
    assert main(words) == 2
    assert "--arms links_mined: this part has none, hein" in capsys.readouterr().err
