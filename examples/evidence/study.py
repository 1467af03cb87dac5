"""The parts of the study: which arms answer which question, and what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from examples.evidence.data import POPULAR, Variant, source_folder, write_variant

if TYPE_CHECKING:
    from trainer.experiments.results import ExperimentResult
    from trainer.predictions import Predictions
    from trainer.significance import Difference

CONFIG = Path("configs/evidence/movielens_1m.yaml")
RESULTS = Path("docs/evidence")
_FOLDER_IN_CONFIG = "out/evidence/movielens_1m"
_BACKBONES = ("din", "dien", "deepfm", "xdeepfm", "dcn", "dcnv2", "autoint", "fibinet", "fignn")
_STRONG = ("collaborative_title_genres", "collaborative_title_genres_links")
_OVER_TITLES = ("title_genres", "links_title_genres")

Pair = tuple[str, str]
"""Baseline and arm."""


@dataclass(frozen=True)
class Part:
    """A question and the models that answer it.

    Attributes:
      question: what a reader wants to know.
      arms: of the scenario; the first is the baseline of all others.
      backbones: each is trained in every arm.
      variant: of the data.
      pairs: arms that are compared with others than the baseline.
      slices: in which these pairs, and links beside titles with the baseline, are compared apart.
    """

    question: str
    arms: tuple[str, ...]
    backbones: tuple[str, ...] = ("din",)
    variant: Variant = Variant("movielens_1m")
    pairs: tuple[Pair, ...] = ()
    slices: tuple[str, ...] = ()


_DENSITIES = (5, 10, 25, 50)
_POPULAR_ARMS = (
    *(f"links_popular_{share}_title_genres" for share in POPULAR),
    "links_title_genres",
)

PARTS = {
    "main": Part(
        "What does knowledge add to nine ranking models, and what of it is the LLM's?",
        (
            *("none", "hein", "title_genres", "prose", "links", "links_title_genres"),
            *("collaborative", "collaborative_title_genres", "collaborative_title_genres_links"),
        ),
        _BACKBONES,
        pairs=(("title_genres", "prose"), _OVER_TITLES, _STRONG),
        slices=("item_popularity", "user_activity"),
    ),
    "new_items": Part(
        "A tenth of the films was never seen in training: what does knowledge add there?",
        (
            *("none", "title_genres_prior", "links_prior", "links_title_genres_prior"),
            *("collaborative", "collaborative_title_genres_prior"),
            "collaborative_title_genres_links_prior",
        ),
        variant=Variant("new_items", new_items=0.1),
        pairs=(
            ("title_genres_prior", "links_title_genres_prior"),
            ("collaborative_title_genres_prior", "collaborative_title_genres_links_prior"),
        ),
        slices=("cold_item",),
    ),
    "controls": Part(
        "Is it the links, and which of them?",
        (
            *("none", "title_genres", "links", "links_shuffled", "links_random"),
            *("links_1", "links_3", "links_mined"),
        ),
        pairs=tuple(
            (other, "links")
            for other in ("title_genres", "links_shuffled", "links_random", "links_1", "links_3")
        ),
    ),
    "cost": Part(
        "How many answers of the LLM does it take?",
        ("none", "title_genres", *_POPULAR_ARMS),
        pairs=tuple(("title_genres", arm) for arm in _POPULAR_ARMS),
    ),
    **{
        f"users_{share}": Part(
            f"What if there were {share} % of the training users?",
            ("none", "title_genres", "links_title_genres", *_STRONG),
            variant=Variant(f"users_{share}", training_users=share / 100),
            pairs=(_OVER_TITLES, _STRONG),
        )
        for share in _DENSITIES
    },
}


@dataclass(frozen=True)
class Request:
    """What of a part is to be done.

    Attributes:
      part: name in `PARTS`.
      data: folder with MovieLens-1M; None looks in the usual ones.
      out: folder for files, records and runs.
      results: folder of the result file.
      config: scenario with all arms.
      backbones: of the part's; all if empty.
      arms: of the part's, with the baseline; all if empty.
      seeds: of the trainings.
      processes: trainings at a time.
      resamples: of the bootstrap.
    """

    part: str
    data: str | None
    out: Path
    results: Path = RESULTS
    config: Path = CONFIG
    backbones: Sequence[str] = ()
    arms: Sequence[str] = ()
    seeds: Sequence[int] = (1, 2, 3)
    processes: int = 1
    resamples: int = 40_000


def run_part(request: Request) -> dict[str, Any]:
    """Prepares, trains, tests and compares; what is there is not done again.

    Returns:
      The result document, which is also written to `<results>/<part>.json`.

    Raises:
      ConfigurationError: data or answers are missing, or an arm or backbone is not of the part.
      CommandError: a training failed; what is done is kept.
    """
    from preprocessing.all_steps import run_all_steps
    from trainer.experiments.results import failures_text
    from trainer.experiments.running import run_experiment

    part = PARTS[request.part]
    folder = request.out / part.variant.name
    counts = _prepared_data(request, part.variant, folder)
    scenario = load_scenario(_write_scenario(request, part, folder), for_all_arms=True)
    run_all_steps(scenario)
    result = run_experiment(scenario, folder / "experiment", request.processes)
    if result.failures:
        raise CommandError(failures_text(result.failures))
    path = request.results / f"{request.part}.json"
    document = _document(request, part, scenario, counts, result)
    if path.is_file():
        document = _with_other_backbones(document, json.loads(path.read_text(encoding="utf-8")))
    document["missing"] = _missing(part, document["models"])
    _correct_p_values(document["comparisons"])
    request.results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"results: {path}")
    return document


def _prepared_data(request: Request, variant: Variant, folder: Path) -> dict[str, int]:
    """Writes the variant's files, unless they are there."""
    written = folder / "data" / "variant.json"
    if written.is_file():
        found = json.loads(written.read_text(encoding="utf-8"))
        if found["variant"] == asdict(variant):
            return dict(found["counts"])
    counts = write_variant(source_folder(request.data), variant, folder / "data")
    written.write_text(json.dumps({"variant": asdict(variant), "counts": counts}))
    return counts


def _write_scenario(request: Request, part: Part, folder: Path) -> Path:
    """The scenario of the part: its arms, backbones, sources and folder."""
    text = request.config.read_text(encoding="utf-8").replace(_FOLDER_IN_CONFIG, str(folder))
    tree = yaml.safe_load(text)
    arms = _chosen("--arms", request.arms, part.arms)
    if part.arms[0] not in arms:
        arms = [part.arms[0], *arms]
    experiment = tree["experiment"]
    tree["name"] = f"evidence_{request.part}"
    tree["experiment"] = {
        "backbones": _chosen("--backbones", request.backbones, part.backbones),
        "arms": {name: experiment["arms"][name] for name in arms},
        "baseline": part.arms[0],
        "seeds": list(request.seeds),
    }
    tree["evaluation"] = {"bootstrap_resamples": request.resamples}
    path = folder / f"{request.part}.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def _chosen(option: str, asked: Sequence[str], there_are: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in there_are:
            raise ConfigurationError(f"{option} {name}: this part has {', '.join(there_are)}")
    return [name for name in there_are if not asked or name in asked]


def _document(
    request: Request,
    part: Part,
    scenario: Scenario,
    counts: Mapping[str, int],
    result: ExperimentResult,
) -> dict[str, Any]:
    from trainer.report.inputs import machine_text

    return {
        "part": request.part,
        "question": part.question,
        "made_on": date.today().isoformat(),
        "machine": machine_text(),
        "data": counts,
        "seeds": list(request.seeds),
        "resamples": request.resamples,
        "training": scenario.training.model_dump(mode="json", exclude_defaults=True),
        "models": [
            _model(result, backbone, arm) | {"command": _command(request)}
            for backbone, arm in _cells(result)
        ],
        "comparisons": [
            {
                "backbone": backbone,
                "baseline": baseline,
                "arm": arm,
                **_numbers(difference),
                "p": round(difference.p_value, 6),
            }
            for backbone in scenario.experiment.backbones
            for baseline, arm, difference in _differences(request, part, result, backbone)
        ],
        "slices": list(_slices(request, part, scenario, result)),
    }


_SAME = ("machine", "data", "seeds", "resamples", "training")
_OF_BACKBONES = ("models", "comparisons", "slices")


def _with_other_backbones(document: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Adds what was measured before of other backbones, if all that they share is the same."""
    if any(document[name] != before[name] for name in _SAME):
        return document
    anew = {model["backbone"] for model in document["models"]}
    kept = {
        name: [row for row in before[name] if row["backbone"] not in anew] for name in _OF_BACKBONES
    }
    return document | {
        name: sorted(kept[name] + document[name], key=lambda row: _BACKBONES.index(row["backbone"]))
        for name in _OF_BACKBONES
    }


def _missing(part: Part, models: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {(model["backbone"], model["arm"]) for model in models}
    every = [(backbone, arm) for backbone in part.backbones for arm in part.arms]
    return [f"{backbone} {arm}" for backbone, arm in every if (backbone, arm) not in there]


def _correct_p_values(comparisons: Sequence[dict[str, Any]]) -> None:
    """Sets `p_holm`, the p-value corrected for all comparisons of the part."""
    from trainer.significance import holm

    adjusted = holm([row["p"] for row in comparisons])
    for row, p_value in zip(comparisons, adjusted, strict=True):
        row["p_holm"] = round(p_value, 6)


def _command(request: Request) -> str:
    """What was asked for, as it is typed."""
    words = ["python -m examples.evidence run", request.part]
    for option, values in (
        ("--backbones", request.backbones),
        ("--arms", request.arms),
        ("--seeds", request.seeds if tuple(request.seeds) != Request.seeds else ()),
    ):
        if values:
            words += [option, *map(str, values)]
    return " ".join(words)


def _cells(result: ExperimentResult) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run.backbone, run.knowledge) for run in result.runs))


def _model(result: ExperimentResult, backbone: str, arm: str) -> dict[str, Any]:
    runs = result.runs_of(backbone, arm)
    metrics = ("auc", "logloss", "gauc")
    return {
        "backbone": backbone,
        "arm": arm,
        "validation_auc": _rounded([run.validation["auc"] for run in runs]),
        **{name: _rounded([run.test[name] for run in runs]) for name in metrics},
        "epochs": [run.epochs for run in runs],
        "undertrained": any(run.undertrained for run in runs),
    }


def _pairs(part: Part, result: ExperimentResult, backbone: str) -> list[Pair]:
    """All arms with the baseline, then the part's own pairs, of what there is."""
    pairs = [*((part.arms[0], arm) for arm in part.arms[1:]), *part.pairs]
    there = [arm for of, arm in _cells(result) if of == backbone]
    return [pair for pair in pairs if set(pair) <= set(there)]


def _differences(
    request: Request, part: Part, result: ExperimentResult, backbone: str
) -> Iterable[tuple[str, str, Difference]]:
    from trainer.predictions import compare_predictions

    of_baseline = {
        found.knowledge: found.difference
        for found in result.comparisons
        if found.backbone == backbone
    }
    for baseline, arm in _pairs(part, result, backbone):
        difference = of_baseline[arm] if baseline == part.arms[0] else None
        if difference is None:
            before, after = (_predictions(result, backbone, name) for name in (baseline, arm))
            difference = compare_predictions(before, after, request.resamples, seed=0)["auc"]
        yield baseline, arm, difference


def _slices(
    request: Request, part: Part, scenario: Scenario, result: ExperimentResult
) -> Iterable[dict[str, Any]]:
    """The first backbone's own pairs, and none with the first arm that has links, in slices."""
    from trainer.comparison import compare_slices
    from trainer.evaluation.part_scores import PartScores, divided_rows
    from trainer.evaluation.runs import kind_of

    backbone = part.backbones[0]
    if not part.slices:
        return
    with_links = next(arm for arm in part.arms if arm.startswith("links_title_genres"))
    pairs = dict.fromkeys([(part.arms[0], with_links), *part.pairs])
    for baseline, arm in (pair for pair in _pairs(part, result, backbone) if pair in pairs):
        before, after = (_predictions(result, backbone, name) for name in (baseline, arm))
        scores = PartScores(scenario, "test", kind_of(scenario), (), [before[0]])
        divisions = divided_rows(scores, part.slices)
        slices = compare_slices(before, after, divisions, request.resamples, seed=0)
        for name, groups in slices.items():
            for group, compared in groups.items():
                difference = compared.differences.get("auc")
                yield {
                    "backbone": backbone,
                    "baseline": baseline,
                    "arm": arm,
                    "slice": name,
                    "group": group,
                    "samples": compared.n,
                    "users": compared.users,
                    **({} if difference is None else _numbers(difference)),
                }


def _predictions(result: ExperimentResult, backbone: str, arm: str) -> list[Predictions]:
    return [run.predictions for run in result.runs_of(backbone, arm)]


def _numbers(difference: Difference) -> dict[str, Any]:
    return {
        "baseline_auc": round(difference.baseline, 6),
        "arm_auc": round(difference.candidate, 6),
        "difference": round(difference.difference, 6),
        "low": round(difference.low, 6),
        "high": round(difference.high, 6),
        "relative_lift": round(difference.relative_lift, 6),
        "covers_seeds": difference.covers_seeds,
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 6) for value in values]
