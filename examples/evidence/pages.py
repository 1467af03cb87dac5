"""Pages of the study, made of its result files: tables that no hand has touched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from configs.documents import render
from examples.evidence.kernels import RESULTS as KERNELS
from examples.evidence.plots import differences_plot, frontier_plot
from examples.evidence.study import PARTS, PROCESSORS_DIFFER, StudyData
from trainer.metrics import display_name

_TEMPLATE = Path(__file__).with_name("page.md.jinja")
_KERNELS_TEMPLATE = Path(__file__).with_name("kernels.md.jinja")
_LEVEL = 0.01
_KNOWLEDGE = (
    *("model.match", "model.knowledge_match.sources", "model.adapter", "knowledge.sources"),
    *("model.prior", "model.knowledge_prior.sources"),
)
"""Overrides that say what an arm knows, as its name does."""


def write_pages(folder: Path) -> list[Path]:
    """Writes a page and its plots beside every result file of a folder and returns the pages."""
    pages = []
    for part in PARTS:
        results = folder / f"{part}.json"
        if results.is_file():
            page = folder / f"{part}.md"
            page.write_text(page_text(results), encoding="utf-8")
            for path, image in page_plots(results).items():
                path.write_bytes(image)
            pages.append(page)
    probed = folder / KERNELS.name
    if probed.is_file():
        page = probed.with_suffix(".md")
        page.write_text(kernels_text(probed), encoding="utf-8")
        pages.append(page)
    return pages


def kernels_text(results: Path) -> str:
    """The page of the probe without a network, in Markdown."""
    return render(_KERNELS_TEMPLATE, json.loads(results.read_text(encoding="utf-8")))


def page_plots(results: Path) -> dict[Path, bytes]:
    """The plots of a result file's page: path beside it -> SVG; none where nothing is compared."""
    document = json.loads(results.read_text(encoding="utf-8"))
    if not document["comparisons"]:
        return {}
    part = PARTS[document["part"]]
    plots = {results.with_suffix(".svg"): differences_plot(document, part.metrics[0], part.arms[0])}
    if part.frontier:
        path = results.with_name(f"{results.stem}_frontier.svg")
        plots[path] = frontier_plot(document, part.pairs[0][0], part.frontier)
    return plots


def page_text(results: Path) -> str:
    """The page of a result file, in Markdown."""
    document = json.loads(results.read_text(encoding="utf-8"))
    comparisons = document["comparisons"]
    part = PARTS[document["part"]]
    baseline = part.arms[0]
    with_baseline = {
        (row["backbone"], row["arm"]): row for row in comparisons if row["baseline"] == baseline
    }
    others = [row for row in comparisons if row["baseline"] != baseline]
    return render(
        _TEMPLATE,
        {
            **document,
            "description": _description(part.data, document["data"]),
            "metrics": part.metrics,
            "baseline": baseline,
            "frontier": part.frontier,
            "searched": [*document["models"][0].get("settings", ())],
            "commands": dict.fromkeys(model["command"] for model in document["models"]),
            "processors": Counter(
                model["processor"] for model in document["models"] if model.get("processor")
            ),
            "models": [
                {
                    **_means(model, part.metrics),
                    "over": with_baseline.get((model["backbone"], model["arm"])),
                }
                for model in document["models"]
            ],
            "apart": _set_apart(document["models"]),
            "undertrained": sum(model["undertrained"] for model in document["models"]),
            "baselines": _undertrained_baselines(document["models"], baseline),
            "trained_twice": _trained_twice(document),
            "processors_differ": PROCESSORS_DIFFER,
            "others": others,
            "together": document["over_models"],
            "over_models": _over_models(comparisons, document["over_models"]),
            "slices": _by_pair(document["slices"]),
        },
        {
            "interval": _interval,
            "p": _p,
            "percent": lambda share: f"{100 * share:+.2f} %",
            "display_name": display_name,
        },
    )


def _description(data: StudyData, counts: Mapping[str, int]) -> str:
    new = data.new_items_description.format(**counts)
    has_new = any(name.startswith("new_") and count for name, count in counts.items())
    return data.description.format(**counts, new=new if has_new else "")


def _means(model: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    values = model[metrics[0]]
    return {
        **model,
        "deviation": stdev(values) if len(values) > 1 else None,
        "means": [mean(model[name]) for name in metrics],
    }


def _set_apart(models: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Settings of some arms beside what they know: key and value -> arms."""
    apart: dict[tuple[str, str], list[str]] = {}
    overrides = {model["arm"]: model["overrides"] for model in models}
    for arm, changed in overrides.items():
        for key, value in changed.items():
            if key not in _KNOWLEDGE:
                apart.setdefault((key, str(value)), []).append(arm)
    return dict(sorted(apart.items()))


def _undertrained_baselines(
    models: Sequence[Mapping[str, Any]], baseline: str
) -> tuple[int, int] | None:
    """How many of several baselines might be trained longer, and of how many."""
    rows = [model["undertrained"] for model in models if model["arm"] == baseline]
    return (sum(rows), len(rows)) if len(rows) > 1 else None


def _trained_twice(document: Mapping[str, Any]) -> bool:
    """Whether a comparison is of models that were trained again for it, on another processor."""
    first = {(row["backbone"], row["arm"]): row.get("processor", "") for row in document["models"]}
    return any(
        row.get("processor", "") != first[row["backbone"], row[side]]
        for row in document["comparisons"]
        for side in ("baseline", "arm")
        if row.get("processor")
    )


def _over_models(
    comparisons: Sequence[Mapping[str, Any]], together: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each pair of arms over all backbones that were trained in both; none for a single one."""
    compared = {(row["baseline"], row["arm"]): row for row in together}
    totals = []
    for baseline, arm in dict.fromkeys((row["baseline"], row["arm"]) for row in comparisons):
        rows = [row for row in comparisons if (row["baseline"], row["arm"]) == (baseline, arm)]
        if len(rows) > 1:
            lifts = [row["relative_lift"] for row in rows]
            certain = sum(row["p_holm"] < _LEVEL and row["difference"] > 0 for row in rows)
            totals.append(
                {
                    "baseline": baseline,
                    "arm": arm,
                    "models": len(rows),
                    "together": compared.get((baseline, arm)),
                    "mean": mean(lifts),
                    "least": min(lifts),
                    "most": max(lifts),
                    "certain": certain if all(row["covers_seeds"] for row in rows) else None,
                }
            )
    return totals


def _by_pair(slices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    def key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
        return row["backbone"], row["baseline"], row["arm"], row["slice"]

    return [
        dict(zip(("backbone", "baseline", "arm", "name"), group, strict=True), rows=list(rows))
        for group, rows in groupby(slices, key)
    ]


def _interval(row: Mapping[str, Any]) -> str:
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"


def _p(row: Mapping[str, Any]) -> str:
    if not row["covers_seeds"]:
        return "one seed"
    return "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
