"""The parts of the study: which arms answer which question, and what is measured of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from configs.command_line import CommandError, say
from configs.files import file_sha256
from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from examples.evidence.data import (
    NAMES,
    POPULAR,
    Variant,
    source_folder,
    write_music,
    write_sample,
    write_variant,
)
from preprocessing.records.contract import EXTRACTIONS

if TYPE_CHECKING:
    from trainer.experiments.results import ExperimentResult
    from trainer.predictions import Predictions
    from trainer.significance import Difference

RESULTS = Path("docs/evidence")
_BACKBONES = ("din", "dien", "deepfm", "xdeepfm", "dcn", "dcnv2", "autoint", "fibinet", "fignn")
_STRONG = ("collaborative_title_genres", "collaborative_title_genres_links")
_STRONG_PRIOR = (
    "collaborative_title_genres_prior",
    "collaborative_title_genres_links_prior",
)
_STRONG_PRIOR_HIDDEN = (
    "collaborative_title_genres_prior_hidden",
    "collaborative_title_genres_links_prior_hidden",
)
_STRONG_LANDMARKS = (
    "collaborative_title_genres_128_landmarks",
    "collaborative_title_genres_links_128_landmarks",
)
_OVER_TITLES = ("title_genres", "links_title_genres")
_LINKED = ("links", "links_title_genres", "collaborative_title_genres_links")

ALL = "all"
"""Stands for the backbone where several are compared together."""
PROCESSORS_DIFFER = 0.001
"""By how much a metric of the same model, with one seed, may differ between processors.

On MovieLens-1M they differed by 0.0001, on the sample by 0.0006.
"""
USER_LINKS = "_user_links"
"""Ends the name of an arm with user links beside it."""

Pair = tuple[str, str]
"""Baseline and arm."""


@dataclass(frozen=True)
class StudyData:
    """What parts of the study are about.

    Attributes:
      config: scenario with the arms and settings of its parts.
      write: writes the files of a variant, from the folder that was asked for, and counts.
      description: for people, with names of those counts in braces.
      new_items_description: likewise, about a variant with new items.
      answers: source of what an LLM said -> file of a variant. Results of other answers do not
        stand beside those of these.
    """

    config: Path
    write: Callable[[str | None, Variant, Path], Mapping[str, int]]
    description: str
    new_items_description: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)


MOVIELENS_1M = StudyData(
    Path("configs/evidence/movielens_1m.yaml"),
    lambda asked, variant, folder: write_variant(source_folder(asked), variant, folder),
    "MovieLens-1M: {users:,} users in three parts ({train:,} training, {validation:,} validation "
    "and {test:,} test ratings), {films:,} films{new}. Label: four stars or more.",
    ", {new_films} of them without any training rating",
    answers={"links": "links/answers.jsonl", "prose": "prose/answers.jsonl"},
)
IN_TIME = replace(
    MOVIELENS_1M,
    description="MovieLens-1M: the ratings of each of {users:,} users in three parts in their "
    "order, 8:1:1 ({train:,} training, {validation:,} validation and {test:,} test ratings), "
    "{films:,} films. Label: four stars or more.",
)
MUSIC = StudyData(
    Path("configs/evidence/music.yaml"),
    lambda asked, variant, folder: write_music(variant, folder),
    "A made-up world: {listeners:,} listeners in three parts, with {train:,} (training), "
    "{validation:,} (validation) and {test:,} (test) pairs of a listener and one of {artists:,} "
    "artists{new}. No ratings, no times.",
    ", {new_artists} of which training never saw",
    answers={"links": "links.jsonl"},
)
SAMPLE = StudyData(
    Path("configs/evidence/movielens_small.yaml"),
    lambda asked, variant, folder: write_sample(folder),
    "The bundled MovieLens sample: 100,004 ratings of 671 users. Label: four stars or more.",
    answers={name: f"item_{name}.jsonl" for name in EXTRACTIONS},
)


@dataclass(frozen=True)
class Part:
    """A question and the models that answer it.

    Attributes:
      question: what a reader wants to know.
      arms: of the scenario; the first is the baseline of all others.
      backbones: each is trained in every arm.
      data: what it is about.
      variant: of the data.
      settings: section of the scenario -> what it has instead, for all arms.
      with_user_links: arms whose models are also judged with user links beside them, as further
        arms (`examples.evidence.user_links`).
      pairs: arms that are compared with others than the baseline.
      slices: in which these pairs, and some arms with the baseline, are compared apart.
      sliced_arms: those arms.
      frontier: series of a plot of lift by tokens -> its arms; the plot's baseline is that of the
        part's first pair.
      metrics: what is measured; compared is the first.
    """

    question: str
    arms: tuple[str, ...]
    backbones: tuple[str, ...] = ("din",)
    data: StudyData = MOVIELENS_1M
    variant: Variant = Variant("movielens_1m")
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    with_user_links: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    slices: tuple[str, ...] = ()
    sliced_arms: tuple[str, ...] = ("links_title_genres",)
    frontier: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("auc", "logloss", "gauc")

    @property
    def all_arms(self) -> tuple[str, ...]:
        """Those that are trained, and those with user links."""
        return (*self.arms, *(arm + USER_LINKS for arm in self.with_user_links))


_DENSITIES = (5, 10, 25, 50)
_POPULAR_ARMS = tuple(f"links_popular_{share}_title_genres" for share in POPULAR)
_FEW_NAMES_ARMS = tuple(f"links_{names}_title_genres" for names in NAMES)
_ASKING_ARMS = (*_POPULAR_ARMS, *_FEW_NAMES_ARMS, "links_title_genres")
_MUSIC_WORLD = Variant("music", new_items=0.1)
_MUSIC_ARMS = ("none", "genres", "links", "links_genres", "collaborative", "collaborative_links")
_MUSIC_PAIRS = (("genres", "links_genres"), ("collaborative", "collaborative_links"))
_USER_ARMS = ("none", "user", "links_title_genres", "links_title_genres_user")
_WITH_USER_LINKS = ("none", "links_title_genres")
_USER_PAIRS = (
    ("links_title_genres", "links_title_genres_user"),
    ("links_title_genres", "links_title_genres" + USER_LINKS),
)
_ADAPTERS = ("linear", "mlp", "moe")
_PROSE_ARMS = ("collective", "individual", "individual_collective")


def _search(
    trials: int,
    learning_rates: tuple[float, float],
    regularizations: tuple[float, float],
    choices: Mapping[str, tuple[float, ...]],
) -> dict[str, Any]:
    """Settings of a part in which every arm has a search of its own."""
    ranges = {
        "training.learning_rate": learning_rates,
        "training.embedding_regularization": regularizations,
    }
    space: dict[str, Any] = {
        name: {"low": low, "high": high, "log": True} for name, (low, high) in ranges.items()
    }
    space |= {name: {"choices": [*values]} for name, values in choices.items()}
    return {"experiment": {"tuning": {"trials": trials, "space": space}}}


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
    "published": Part(
        "As published, with a history of five and prose as a field alone: what does it add?",
        ("none", "hein"),
        _BACKBONES,
        variant=Variant("published"),
        settings={"data": {"history_length": 5}},
        slices=("item_popularity", "user_activity"),
        sliced_arms=("hein",),
    ),
    "stronger": Part(
        "With eight epochs and attention over sixty interactions: what is left of the lift?",
        ("none", "title_genres", "links_title_genres", *_STRONG),
        variant=Variant("stronger"),
        settings={"training": {"epochs": 8}, "model": {"attention_history_length": 60}},
        pairs=(_OVER_TITLES, _STRONG),
        slices=("item_popularity", "user_activity"),
    ),
    "new_items": Part(
        "A tenth of the films was never seen in training: what does knowledge add there?",
        (
            *("none", "title_genres_prior", "links_prior", "links_title_genres_prior"),
            *("collaborative", *_STRONG_PRIOR),
            *("none_hidden", "links_title_genres_prior_hidden", *_STRONG_PRIOR_HIDDEN),
        ),
        variant=Variant("new_items", new_items=0.1),
        pairs=(
            ("title_genres_prior", "links_title_genres_prior"),
            _STRONG_PRIOR,
            ("links_title_genres_prior", "links_title_genres_prior_hidden"),
            ("none_hidden", "links_title_genres_prior_hidden"),
            _STRONG_PRIOR_HIDDEN,
        ),
        slices=("cold_item",),
        sliced_arms=("links_title_genres_prior", "links_title_genres_prior_hidden"),
    ),
    "prior": Part(
        "What does a prior add beside match, on films that training saw?",
        (
            *("none", "links_title_genres", "links_title_genres_prior", *_STRONG),
            *_STRONG_PRIOR,
        ),
        pairs=(
            ("links_title_genres", "links_title_genres_prior"),
            *zip(_STRONG, _STRONG_PRIOR, strict=True),
            _STRONG,
            _STRONG_PRIOR,
        ),
        slices=("item_popularity", "user_activity"),
        sliced_arms=("links_title_genres_prior",),
    ),
    "time_split": Part(
        "Users' last ratings after their first ones: what does knowledge add for known users?",
        ("none", "title_genres", "links_title_genres", *_STRONG),
        data=IN_TIME,
        variant=Variant("time_split", by_time=True),
        pairs=(_OVER_TITLES, _STRONG),
        slices=("item_popularity", "user_activity"),
    ),
    "controls": Part(
        "Is it the links, and which of them?",
        (
            *("none", "title_genres", "links", "links_shuffled", "links_random"),
            *("links_1", "links_3", "links_mined", "links_means"),
        ),
        pairs=tuple(
            (other, "links")
            for other in (
                *("title_genres", "links_shuffled", "links_random", "links_1", "links_3"),
                *("links_mined", "links_means"),
            )
        ),
    ),
    "cost": Part(
        "How many answers of the LLM does it take?",
        ("none", "title_genres", *_ASKING_ARMS),
        pairs=tuple(("title_genres", arm) for arm in _ASKING_ARMS),
        frontier={
            "ten names, of the films with most ratings": (*_POPULAR_ARMS, "links_title_genres"),
            "fewer names, of every film": (*_FEW_NAMES_ARMS, "links_title_genres"),
        },
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
    "music": Part(
        "Without ratings and times: what does knowledge add to a ranking model?",
        _MUSIC_ARMS,
        data=MUSIC,
        variant=_MUSIC_WORLD,
        pairs=_MUSIC_PAIRS,
        slices=("cold_item", "user_activity"),
        sliced_arms=("links",),
    ),
    "music_reranking": Part(
        "Without ratings and times: what does knowledge add to a re-ranker?",
        _MUSIC_ARMS,
        ("prm",),
        data=MUSIC,
        variant=_MUSIC_WORLD,
        settings={"training": {"batch_size": 64}},
        pairs=_MUSIC_PAIRS,
        metrics=("ndcg_at_10", "map_at_10", "auc"),
    ),
    "music_retrieval": Part(
        "Without ratings and times: what does knowledge add to retrieval?",
        (
            *("none", "genres_fields", "links_fields", "links_genres_fields"),
            "links_genres_fields_hidden",
        ),
        ("two_tower",),
        data=MUSIC,
        variant=_MUSIC_WORLD,
        settings={
            "training": {
                **{"epochs": 20, "patience": 20, "batch_size": 256},
                **{"learning_rate": 0.003, "schedule": "constant", "embedding_regularization": 0},
            },
        },
        pairs=(
            ("genres_fields", "links_genres_fields"),
            ("links_genres_fields", "links_genres_fields_hidden"),
        ),
        slices=("cold_item",),
        sliced_arms=("links_genres_fields",),
        metrics=("new_items_recall_at_10", "recall_at_10", "mrr"),
    ),
    "user_knowledge": Part(
        "What do an LLM's answers about users add, for users whom training saw?",
        _USER_ARMS,
        data=SAMPLE,
        variant=Variant("movielens_small"),
        with_user_links=_WITH_USER_LINKS,
        pairs=_USER_PAIRS,
        slices=("user_activity",),
        sliced_arms=("none" + USER_LINKS,),
    ),
    "user_knowledge_new_users": Part(
        "What do an LLM's answers about users add, for users whom training never saw?",
        _USER_ARMS,
        data=SAMPLE,
        variant=Variant("movielens_small_new_users"),
        settings={"split": {"by": "user"}},
        with_user_links=_WITH_USER_LINKS,
        pairs=_USER_PAIRS,
        slices=("user_activity",),
        sliced_arms=("none" + USER_LINKS,),
    ),
    "adapters": Part(
        "Prose as a field: does it matter what makes the field of it?",
        ("none", *_ADAPTERS, "hein"),
        data=SAMPLE,
        variant=Variant("movielens_small"),
        pairs=tuple((adapter, "hein") for adapter in _ADAPTERS),
    ),
    "landmarks": Part(
        "Beside vectors of ratings: are they given their due with 64 landmarks?",
        ("none", *_STRONG, *_STRONG_LANDMARKS),
        pairs=(*zip(_STRONG, _STRONG_LANDMARKS, strict=True), _STRONG, _STRONG_LANDMARKS),
        slices=("item_popularity", "user_activity"),
        sliced_arms=("collaborative_title_genres_links_128_landmarks",),
    ),
    "smoothness": Part(
        "Vectors of links, seen as a smoother graph: do they know more?",
        ("none", *_LINKED, *(f"{arm}_smooth" for arm in _LINKED)),
        pairs=tuple((arm, f"{arm}_smooth") for arm in _LINKED),
        slices=("item_popularity", "user_activity"),
        sliced_arms=("links_title_genres_smooth",),
    ),
    "extraction": Part(
        "One answer about each film, or one about each group of films?",
        ("none", "title_genres", *_PROSE_ARMS, "links"),
        data=SAMPLE,
        variant=Variant("movielens_small"),
        pairs=(
            *(("title_genres", arm) for arm in (*_PROSE_ARMS, "links")),
            ("collective", "individual"),
        ),
        frontier={"prose": _PROSE_ARMS, "links": ("links",)},
    ),
    "tuned": Part(
        "What is left when every arm has a search of its own for its settings?",
        ("none", "title_genres", "links_title_genres", *_STRONG),
        variant=Variant("tuned"),
        settings={
            "training": {"epochs": 8},
            **_search(
                8,
                (0.0006, 0.006),
                (0.05, 5),
                {
                    "model.attention_history_length": (30, 60),
                    "model.dropout_rate": (0.2, 0.4, 0.6),
                },
            ),
        },
        pairs=(_OVER_TITLES, _STRONG),
    ),
    "tuned_sample": Part(
        "What is left when every arm has a search of its own for its settings?",
        ("none", "hein", "title_genres", "links_title_genres", "links_match"),
        data=SAMPLE,
        variant=Variant("movielens_small_tuned"),
        settings=_search(10, (0.001, 0.01), (3, 100), {"model.dropout_rate": (0.0, 0.2, 0.4)}),
        pairs=(_OVER_TITLES, ("title_genres", "links_match")),
    ),
    "sample": Part(
        "What does the demo's knowledge add on the bundled sample?",
        ("none", "hein", "hein_match", "links_match"),
        ("din", "dcnv2"),
        data=SAMPLE,
        variant=Variant("movielens_small"),
        pairs=(("hein_match", "links_match"),),
        slices=("item_popularity", "user_activity"),
        sliced_arms=("links_match",),
    ),
}


@dataclass(frozen=True)
class Request:
    """What of a part is to be done.

    Attributes:
      part: name in `PARTS`.
      data: folder with MovieLens-1M, for its parts; None looks in the usual ones.
      out: folder for files, records and runs.
      results: folder of the result file.
      config: scenario with all arms; None takes that of the part's data.
      backbones: of the part's; all if empty.
      arms: of the part's; all if empty. The baseline comes with them, unless the part compares
        some of them with each other.
      seeds: of the trainings.
      processes: trainings at a time.
      resamples: of the bootstrap.
    """

    part: str
    data: str | None
    out: Path
    results: Path = RESULTS
    config: Path | None = None
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
      ConfigurationError: data or answers are missing, an arm or backbone is not of the part, or
        the result file has models that would be lost.
      CommandError: a training failed; what is done is kept.
    """
    from preprocessing.all_steps import run_all_steps
    from trainer.experiments.results import failures_text
    from trainer.experiments.running import run_experiment

    part = PARTS[request.part]
    folder = request.out / part.variant.name
    counts = part.data.write(request.data, part.variant, folder / "data")
    scenario = load_scenario(_write_scenario(request, part, folder), for_all_arms=True)
    shared = _shared(request, part, scenario, counts)
    path = request.results / f"{request.part}.json"
    _require_kept(request, part, shared, path)
    run_all_steps(scenario)
    result = run_experiment(scenario, folder / "experiment", request.processes)
    if result.failures:
        raise CommandError(failures_text(result.failures))
    if part.with_user_links:
        from examples.evidence.user_links import with_user_links

        result = with_user_links(scenario, result, part.with_user_links, USER_LINKS)
    document = shared | _document(request, part, scenario, result)
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if all(before.get(name) == value for name, value in shared.items()):
        document = _with_measured_before(part, document, before)
    document["missing"] = _missing(part, document["models"])
    for compared in ("comparisons", "over_models"):
        _correct_p_values(document[compared])
    request.results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"results: {path}")
    for pair in _not_compared(part, document):
        say(f"not compared: {pair}; ask for both in one run")
    return document


def _shared(
    request: Request, part: Part, scenario: Scenario, counts: Mapping[str, int]
) -> dict[str, Any]:
    """What all models of a result file have in common."""
    from trainer.report.inputs import machine_text

    return {
        "machine": machine_text(),
        "data": dict(counts),
        "answers": {
            source: file_sha256(request.out / part.variant.name / "data" / file)
            for source, file in part.data.answers.items()
        },
        "seeds": list(request.seeds),
        "resamples": request.resamples,
        "training": scenario.training.model_dump(mode="json", exclude_defaults=True),
        "settings": _settings(request, part),
    }


def _settings(request: Request, part: Part) -> dict[str, Any]:
    """Data, split and model as the configuration of the part names them, before an arm's changes.

    Which answers and files they are, `answers` and the counts of `data` say.
    """
    tree = _changed_by(part, _configuration(request, part))
    return {section: tree.get(section, {}) for section in ("data", "split", "model")}


def _configuration(request: Request, part: Part) -> dict[str, Any]:
    return yaml.safe_load((request.config or part.data.config).read_text(encoding="utf-8"))


def _changed_by(part: Part, tree: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: {**tree.get(name, {}), **own} for name, own in part.settings.items()}
    return {**tree, **changed}


def _overrides(arms: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """What an arm changes, by the configuration's arms."""
    return arms[arm.removesuffix(USER_LINKS)]["overrides"]


def _require_kept(request: Request, part: Part, shared: Mapping[str, Any], path: Path) -> None:
    """Models do not stand in one file with others of which `_shared` says something else.

    Nor does a model stay whose arm changes something else by now.
    """
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    others = [name for name, value in shared.items() if before.get(name) != value]
    backbones = _chosen("--backbones", request.backbones, part.backbones)
    anew = {(backbone, arm) for backbone in backbones for arm in _asked_arms(request, part)}
    arms = _configuration(request, part)["experiment"]["arms"]
    overrides = {
        (row["backbone"], row["arm"].removesuffix(USER_LINKS)): row.get("overrides")
        for row in before["models"]
    }
    lost = [cell for cell in overrides if cell not in anew]
    if not others:
        lost = [cell for cell in lost if overrides[cell] != _overrides(arms, cell[1])]
    if lost:
        others = others or ["overrides of the arm"]
        named = ", ".join(" ".join(cell) for cell in lost)
        raise ConfigurationError(
            f"this run would not keep what {path} has of {named}: it is about other "
            f"{' and '.join(others)}. Ask for these, too, or write elsewhere with --results"
        )


def _write_scenario(request: Request, part: Part, folder: Path) -> Path:
    """The scenario of the part: its arms, backbones, sources, settings and folder."""
    text = (request.config or part.data.config).read_text(encoding="utf-8")
    tree = yaml.safe_load(text.replace(yaml.safe_load(text)["work_dir"], str(folder)))
    tree = _changed_by(part, tree)
    experiment, arms = tree["experiment"], _asked_arms(request, part)
    tree["name"] = f"evidence_{request.part}"
    tree["experiment"] = {
        "backbones": _chosen("--backbones", request.backbones, part.backbones),
        "arms": {name: experiment["arms"][name] for name in arms},
        "baseline": arms[0],
        "seeds": list(request.seeds),
    }
    tree.setdefault("evaluation", {})["bootstrap_resamples"] = request.resamples
    path = folder / f"{request.part}.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def _asked_arms(request: Request, part: Part) -> list[str]:
    """In the part's order; with the baseline, unless some are compared with each other."""
    arms = _chosen("--arms", request.arms, part.arms)
    complete = part.arms[0] in arms or any(set(pair) <= set(arms) for pair in part.pairs)
    return arms if complete else [part.arms[0], *arms]


def _chosen(option: str, asked: Sequence[str], there_are: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in there_are:
            raise ConfigurationError(f"{option} {name}: this part has {', '.join(there_are)}")
    return [name for name in there_are if not asked or name in asked]


def _document(
    request: Request, part: Part, scenario: Scenario, result: ExperimentResult
) -> dict[str, Any]:
    asked = _asked(scenario) if part.frontier else {}
    arms = _configuration(request, part)["experiment"]["arms"]
    processor = processor_name()
    return {
        "part": request.part,
        "question": part.question,
        "made_on": date.today().isoformat(),
        "models": [
            _model(part, result, backbone, arm)
            | asked.get(arm, {})
            | {"overrides": _overrides(arms, arm)}
            | {"command": _command(request), "processor": processor}
            for backbone, arm in _cells(result)
        ],
        "comparisons": [
            {
                "backbone": backbone,
                "baseline": baseline,
                "arm": arm,
                **_numbers(part, difference),
                "p": round(difference.p_value, 6),
                "processor": processor,
            }
            for backbone in scenario.experiment.backbones
            for baseline, arm, difference in _differences(request, part, result, backbone)
        ],
        "over_models": list(_over_models(request, part, scenario, result)),
        "slices": list(_slices(request, part, scenario, result)),
    }


def _with_measured_before(
    part: Part, document: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Adds other models that were measured before, and what is known of pairs that are the same.

    A model that was measured on another processor, with as good as the same results, stays; it is
    compared with what it was trained beside.
    """
    metric = part.metrics[0]
    models = {(row["backbone"], row["arm"]): row for row in document["models"]}
    changed = set()
    for row in before["models"]:
        cell = row["backbone"], row["arm"]
        anew = models.get(cell, row)
        if _rounds_otherwise(row, anew, metric):
            models[cell] = row
        elif anew[metric] != row[metric]:
            changed.add(cell)
        models.setdefault(cell, row)
    for backbone, arm in sorted(changed):
        say(
            f"{backbone} {arm} has other results than before, so that models that this run did not "
            "ask for may have, too; ask for all"
        )
    pairs = _all_pairs(part)
    cells = [(backbone, arm) for backbone in part.backbones for arm in part.all_arms]

    def pair_of(row: Mapping[str, Any]) -> Pair:
        return row["baseline"], row["arm"]

    def place(row: Mapping[str, Any]) -> tuple[int, int]:
        return part.backbones.index(row["backbone"]), pairs.index(pair_of(row))

    def stays(row: Mapping[str, Any]) -> bool:
        backbones = row.get("backbones", [row["backbone"]])
        own = {(backbone, arm) for backbone in backbones for arm in pair_of(row)}
        return pair_of(row) in pairs and own <= set(cells) - changed

    merged: dict[str, Any] = {}
    for name in ("comparisons", "slices"):
        anew = {place(row) for row in document[name]}
        kept = [row for row in before[name] if stays(row) and place(row) not in anew]
        merged[name] = sorted([*kept, *document[name]], key=place)
    backbones_of: dict[Pair, list[str]] = {}
    for row in merged["comparisons"]:
        backbones_of.setdefault(pair_of(row), []).append(row["backbone"])
    of_all = {
        pair_of(row): row
        for row in (*filter(stays, before["over_models"]), *document["over_models"])
        if row["backbones"] == backbones_of.get(pair_of(row))
    }
    return {
        **document,
        **merged,
        "models": [models[cell] for cell in cells if cell in models],
        "over_models": [of_all[pair] for pair in pairs if pair in of_all],
    }


def _rounds_otherwise(before: Mapping[str, Any], anew: Mapping[str, Any], metric: str) -> bool:
    """Whether it is another processor that results differ by."""
    if before.get("processor", "") == anew.get("processor", ""):
        return False
    return bool(np.allclose(before[metric], anew[metric], rtol=0, atol=PROCESSORS_DIFFER))


def _missing(part: Part, models: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {(model["backbone"], model["arm"]) for model in models}
    every = [(backbone, arm) for backbone in part.backbones for arm in part.all_arms]
    return [f"{backbone} {arm}" for backbone, arm in every if (backbone, arm) not in there]


def _not_compared(part: Part, document: Mapping[str, Any]) -> list[str]:
    """Pairs of which both were measured, but not in one run."""
    measured = {(model["backbone"], model["arm"]) for model in document["models"]}
    compared = {(row["backbone"], row["baseline"], row["arm"]) for row in document["comparisons"]}
    return [
        f"{backbone} {arm} over {baseline}"
        for backbone in part.backbones
        for baseline, arm in _all_pairs(part)
        if {(backbone, baseline), (backbone, arm)} <= measured
        and (backbone, baseline, arm) not in compared
    ]


def _correct_p_values(comparisons: Sequence[dict[str, Any]]) -> None:
    """Sets `p_holm`, the p-value corrected for all of the comparisons."""
    from trainer.significance import holm

    adjusted = holm([row["p"] for row in comparisons])
    for row, p_value in zip(comparisons, adjusted, strict=True):
        row["p_holm"] = round(p_value, 6)


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the last digits of a training depend on, as Linux calls it; "" elsewhere."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def _command(request: Request) -> str:
    """What was asked for, as it is typed."""
    words = ["python -m examples.evidence run", request.part]
    for option, values in (
        ("--backbones", request.backbones),
        ("--arms", request.arms),
        ("--seeds", request.seeds if tuple(request.seeds) != Request.seeds else ()),
        ("--resamples", [request.resamples] if request.resamples != Request.resamples else ()),
    ):
        if values:
            words += [option, *map(str, values)]
    return " ".join(words)


def _cells(result: ExperimentResult) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run.backbone, run.knowledge) for run in result.runs))


def _asked(scenario: Scenario) -> dict[str, dict[str, int]]:
    """Arm -> how many answers of the LLM it reads, and their tokens, estimated."""
    from preprocessing.answers.completion import estimated_tokens
    from preprocessing.inputs import bounded_lines
    from trainer.experiments.grid import arm_scenarios

    answers = scenario.knowledge.answers
    asked = {}
    for arm, own in arm_scenarios(scenario).items():
        files = [
            path
            for source in own.knowledge_sources()
            for path in (*answers[source].individual, *answers[source].collective)
        ]
        tokens = [
            estimated_tokens(json.loads(line)["answer"])
            for path in files
            for line in bounded_lines(path)
        ]
        asked[arm] = {"answers": len(tokens), "answer_tokens": sum(tokens)}
    return asked


def _model(part: Part, result: ExperimentResult, backbone: str, arm: str) -> dict[str, Any]:
    runs, metric = result.runs_of(backbone, arm), part.metrics[0]
    settings = result.settings_of(backbone, arm)
    return {
        "backbone": backbone,
        "arm": arm,
        f"validation_{metric}": _rounded([run.validation[metric] for run in runs]),
        **{name: _rounded([run.test[name] for run in runs]) for name in part.metrics},
        "epochs": [run.epochs for run in runs],
        "undertrained": any(run.undertrained for run in runs),
        **({"settings": dict(settings)} if settings else {}),
    }


def _all_pairs(part: Part) -> list[Pair]:
    """All arms with the baseline, then the part's own pairs."""
    return [*((part.arms[0], arm) for arm in part.all_arms[1:]), *part.pairs]


def _pairs(part: Part, result: ExperimentResult, backbone: str) -> list[Pair]:
    """What there is of them."""
    there = {arm for trained, arm in _cells(result) if trained == backbone}
    return [pair for pair in _all_pairs(part) if set(pair) <= there]


def _differences(
    request: Request, part: Part, result: ExperimentResult, backbone: str
) -> Iterable[tuple[str, str, Difference]]:
    from trainer.predictions import compare_predictions

    with_baseline = {
        comparison.knowledge: comparison.difference
        for comparison in result.comparisons
        if comparison.backbone == backbone
    }
    for baseline, arm in _pairs(part, result, backbone):
        difference = with_baseline.get(arm) if baseline == part.arms[0] else None
        if difference is None:
            before, after = (_predictions(result, backbone, name) for name in (baseline, arm))
            compared = compare_predictions(before, after, request.resamples, seed=0)
            difference = compared[part.metrics[0]]
        yield baseline, arm, difference


def _over_models(
    request: Request, part: Part, scenario: Scenario, result: ExperimentResult
) -> Iterable[dict[str, Any]]:
    """Pairs of arms over all backbones that have both, each with its seeds.

    A run of one side belongs to that of the same backbone and seed. What backbones differ by counts
    as chance of their seeds, so that the interval, about other users and other seeds of these
    backbones, is rather too wide.
    """
    from trainer.predictions import compare_predictions

    for baseline, arm in _all_pairs(part):
        backbones = [
            backbone
            for backbone in scenario.experiment.backbones
            if (baseline, arm) in _pairs(part, result, backbone)
        ]
        if len(backbones) < 2:
            continue
        before, after = (
            [run for backbone in backbones for run in _predictions(result, backbone, name)]
            for name in (baseline, arm)
        )
        compared = compare_predictions(before, after, request.resamples, seed=0, paired_runs=True)
        difference = compared[part.metrics[0]]
        yield {
            "backbone": ALL,
            "backbones": backbones,
            "baseline": baseline,
            "arm": arm,
            **_numbers(part, difference),
            "p": round(difference.p_value, 6),
        }


def _slices(
    request: Request, part: Part, scenario: Scenario, result: ExperimentResult
) -> Iterable[dict[str, Any]]:
    """The first backbone's own pairs, and the baseline with some arms, in slices."""
    from trainer.comparison import compare_slices
    from trainer.evaluation.part_scores import PartScores, divided_rows
    from trainer.evaluation.runs import kind_of

    backbone = part.backbones[0]
    if not part.slices:
        return
    sliced = ((part.arms[0], arm) for arm in part.sliced_arms)
    pairs = dict.fromkeys([*sliced, *part.pairs])
    for baseline, arm in (pair for pair in _pairs(part, result, backbone) if pair in pairs):
        before, after = (_predictions(result, backbone, name) for name in (baseline, arm))
        scores = PartScores(scenario, "test", kind_of(scenario), (), [before[0]])
        divisions = divided_rows(scores, part.slices)
        slices = compare_slices(before, after, divisions, request.resamples, seed=0)
        for name, groups in slices.items():
            for group, compared in groups.items():
                difference = compared.differences.get(part.metrics[0])
                yield {
                    "backbone": backbone,
                    "baseline": baseline,
                    "arm": arm,
                    "slice": name,
                    "group": group,
                    "samples": compared.n,
                    "users": compared.users,
                    **({} if difference is None else _numbers(part, difference)),
                }


def _predictions(result: ExperimentResult, backbone: str, arm: str) -> list[Predictions]:
    return [run.predictions for run in result.runs_of(backbone, arm)]


def _numbers(part: Part, difference: Difference) -> dict[str, Any]:
    from trainer.significance import FEWEST_USERS

    metric = part.metrics[0]
    if math.isnan(difference.low):
        raise CommandError(
            f"there is no interval of {metric}: fewer than {FEWEST_USERS} test users, or labels of "
            "one class. Give the study more users"
        )
    return {
        f"baseline_{metric}": round(difference.baseline, 6),
        f"arm_{metric}": round(difference.candidate, 6),
        "difference": round(difference.difference, 6),
        "low": round(difference.low, 6),
        "high": round(difference.high, 6),
        "relative_lift": round(difference.relative_lift, 6),
        "covers_seeds": difference.covers_seeds,
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 6) for value in values]
