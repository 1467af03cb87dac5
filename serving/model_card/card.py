"""`assets.extra/model_card.md` and `.json`: what users of an export should know about it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command_line import CommandError
from configs.documents import render
from configs.files import file_sha256
from configs.scenario import Scenario
from models.building import AnyModel
from preprocessing.records.contract import (
    CTR,
    EXAMPLE_FEATURES,
    INDIVIDUAL,
    LABEL,
    PARTS,
    RERANK,
    RETRIEVAL,
    TIMESTAMP,
    USER_ID,
)
from preprocessing.records.forgotten import NOTHING_FORGOTTEN, Forgotten
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import SETTINGS, WorkDirectory
from preprocessing.records.leak_rule import LeakRule, leak_rules
from preprocessing.records.parsing import example_dataset
from serving.options import DEFAULT_CARD_ROWS
from serving.proof.result import Proof, finite
from serving.refresh.version import RefreshFolder, made_from
from trainer.evaluation import reports
from trainer.evaluation.part_metrics import PartMetrics
from trainer.evaluation.runs import evaluate_scores_of, run_scores
from trainer.evaluation.slices import (
    COLD_ITEM,
    COLD_USER,
    ITEM_POPULARITY,
    KNOWLEDGE,
    USER_ACTIVITY,
)
from trainer.metric_sums import log_losses
from trainer.metrics import AUC_OF_CHANCE, RankedLists, display_name
from trainer.model_kinds import MODEL_KINDS
from trainer.predictions import RANK_COLUMNS, SCORE, Predictions, ranks_of
from trainer.run_folder import RunFolder
from trainer.significance import Difference, bootstrap_auc_difference, bootstrap_mean_difference

_READ_BATCH = 8192
_LICENCE_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt")


MOST_DATED = 300_000
"""Parts of more examples are not read for their dates."""


def data_facts(scenario: Scenario, kind: str) -> dict[str, Any]:
    """Counts, split, dates and licence of the data; None for what is not known.

    `split` has the configured fractions, where these decide, and the true share of every part.

    Args:
      scenario: the run's.
      kind: of the model, and so of its examples.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file of examples is missing or damaged.
    """
    manifest = WorkDirectory(scenario.work_dir).examples.read_manifest()
    counts = manifest["counts"]
    examples = counts["examples"][kind]
    return {
        "scenario": scenario.name,
        "files": list(scenario.data.interactions.paths),
        "users": counts.get("users"),
        "items": counts.get("items"),
        "interactions": counts.get("records_out"),
        "training_interactions": counts.get("training_interactions"),
        "rejected_interactions": counts.get("dead_letters"),
        "examples": examples,
        "positives": counts.get("positives") if kind == CTR else None,
        "sampled_negatives": counts.get("sampled_negatives") if kind == CTR else None,
        "split": {
            "by": scenario.split.by,
            "fractions": None if scenario.split.by == "column" else list(scenario.split.fractions),
            "shares": _shares(examples),
            "knowledge_history_cap": manifest[SETTINGS]["split.knowledge_history_cap"],
        },
        "dates": {
            part: _dates(scenario, kind, part) if 0 < examples.get(part, 0) <= MOST_DATED else None
            for part in PARTS
        },
        "leak_violations": counts.get("leak_violations"),
        "leak_check": counts.get("leak_check"),
        "licence": _licence(Path(scenario.data.interactions.paths[0]).parent),
    }


def _shares(examples: Mapping[str, int]) -> dict[str, float] | None:
    """Part -> its true share of all examples; None where there are none."""
    total = sum(examples.values())
    return {part: count / total for part, count in examples.items()} if total else None


def _dates(scenario: Scenario, kind: str, part: str) -> dict[str, str] | None:
    """Days of the first and last sample; None without times."""
    (feature,) = [feature for feature in EXAMPLE_FEATURES if feature.name == TIMESTAMP]
    files = WorkDirectory(scenario.work_dir).examples.shards(part, kind)
    times = [
        (int(batch[TIMESTAMP].numpy().min()), int(batch[TIMESTAMP].numpy().max()))
        for batch in example_dataset(files, _READ_BATCH, [feature])
    ]
    first, last = min(low for low, _ in times), max(high for _, high in times)
    return {"first": _day(first), "last": _day(last)} if last else None


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _licence(folder: Path) -> dict[str, str] | None:
    """A licence file beside the interactions: its name and its first line."""
    for name in _LICENCE_NAMES:
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = [line.strip("# ").strip() for line in text.splitlines()]
            return {"file": str(path), "begins": next(filter(None, lines), "")}
    return None


MOST_RECORDS = 300_000
"""Sources of more knowledge records are not read again to count who is covered."""

_MOST_BYTES = 64 * 2**20
"""Size of a file of answers that is read for the names of the LLMs."""


def knowledge_facts(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Facts about every source that the model reads.

    Returns:
      Source -> `entity`, `made_from`, `encoder`, `dimension`, `llms`, `answers`, `coverage` and
      `leak_rule`.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
    """
    return {source: _facts(scenario, source, rule) for source, rule in leak_rules(scenario).items()}


def countable_sources(scenario: Scenario) -> list[str]:
    """Sources that the model reads and whose records are few enough to be read again."""
    work_directory = WorkDirectory(scenario.work_dir)
    counts = {
        source: work_directory.knowledge(source).read_manifest()["counts"]
        for source in scenario.knowledge_sources()
    }
    return [source for source, counted in counts.items() if _is_countable(counted)]


def _is_countable(counts: Mapping[str, Any]) -> bool:
    return counts.get("knowledge_records", 0) <= MOST_RECORDS


def _facts(scenario: Scenario, source: str, rule: LeakRule) -> dict[str, Any]:
    manifest = WorkDirectory(scenario.work_dir).knowledge(source).read_manifest()
    answers = scenario.knowledge.answers[source]
    counts = manifest["counts"]
    origin = made_from(answers)
    return {
        "entity": answers.entity,
        "made_from": origin,
        "encoder": manifest.get("encoder"),
        "dimension": manifest.get("vectors", {}).get("dimension"),
        "llms": _llms(scenario, source, manifest.get("inputs", {}))
        if origin == "answers"
        else None,
        "records": {
            "individual": counts.get("individual_entities"),
            "group": counts.get("collective_entities"),
            "rejected_answers": counts.get("dead_letters"),
        },
        "coverage": _coverage(scenario, source, counts),
        "leak_rule": rule.value,
    }


def _coverage(scenario: Scenario, source: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    """How many of the items or users that the data knows have an answer of their own, or a group's.

    Users are those of the vocabulary, who have training samples.
    """
    entity = scenario.knowledge.answers[source].entity
    examples = WorkDirectory(scenario.work_dir).examples
    if not _is_countable(counts):
        return {
            "of": None,
            "why": f"more than {MOST_RECORDS:,} records, which were not read again for this card",
        }
    if entity == "item":
        entity_ids: Sequence[str] = read_item_attributes(examples.item_attributes).item_ids
    else:
        entity_ids = read_vocabulary(examples.vocabulary("user_id"))
    records = read_knowledge(scenario.work_dir, source)
    origins = dict(zip(records.entity_ids, records.extraction, strict=True))
    origin_counts = Counter(_origin(origins.get(one)) for one in entity_ids)
    return {
        "of": f"{entity}s of the {'catalogue and the log' if entity == 'item' else 'vocabulary'}",
        "total": len(entity_ids),
        **{name: origin_counts[name] for name in ("individual", "group", "missing")},
    }


def _origin(extraction: str | None) -> str:
    if extraction is None:
        return "missing"
    return "individual" if extraction == INDIVIDUAL else "group"


def _llms(scenario: Scenario, source: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Names of the LLMs as the records of the answer files have them.

    Returns:
      `names`: model that answered -> number of records; `asked`: the same -> model that was asked
      in its place -> number of records; `not_read`: file -> why it says nothing.
    """
    answers = scenario.knowledge.answers[source]
    names: Counter[tuple[str, str]] = Counter()
    not_read: dict[str, str] = {}
    for file in (*answers.individual, *answers.collective):
        path = Path(file)
        if not path.is_file():
            not_read[file] = "not at hand"
        elif path.stat().st_size > _MOST_BYTES:
            not_read[file] = f"larger than {_MOST_BYTES // 2**20} MB"
        elif file in inputs and file_sha256(path) != inputs[file]:
            not_read[file] = "changed since it was encoded"
        else:
            models = _models_in(path)
            names += models
            if not models:
                not_read[file] = "its records name no model"
    by_name: Counter[str] = Counter()
    asked: dict[str, dict[str, int]] = {}
    for (name, other), count in names.items():
        by_name[name] += count
        if other:
            asked.setdefault(name, {})[other] = count
    return {"names": dict(by_name), "asked": asked, "not_read": not_read}


def _models_in(path: Path) -> Counter[tuple[str, str]]:
    """(Model that answered, model that was asked in its place or "") -> answers of JSON lines.

    Files of other forms name no models.
    """
    names: Counter[tuple[str, str]] = Counter()
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line) if line.strip() else None
                name = _responding_model(record)
                if name and isinstance(record, dict):
                    names[name, _text(record.get("asked_model"))] += 1
    except (OSError, ValueError, EOFError):
        return Counter()
    return names


def _responding_model(record: object) -> str:
    """The model that answered, which need not be the one that was asked; "" if none is named.

    It stands in the field "model" of records and completions, and of the body in a batch's output.
    """
    places = [record]
    for key in ("response", "body"):
        inner = places[-1]
        places.append(inner.get(key) if isinstance(inner, dict) else None)
    named = [_text(each.get("model")) for each in places if isinstance(each, dict)]
    return next(filter(None, named), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


_FIRST = 10
_DIVISIONS = (USER_ACTIVITY, ITEM_POPULARITY, COLD_USER, COLD_ITEM)


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % interval.

    Attributes:
      value: of all samples read.
      low: lower end of the percentile interval of a bootstrap over users.
      high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Performance:
    """What was measured on a part.

    Attributes:
      part: validation or test.
      kind: of the model.
      metrics: of all samples read, as `python -m trainer evaluate` has them; empty where nothing
        could be measured.
      slices: slice -> group -> metrics.
      intervals: metric -> value and interval.
      examples: samples that were read; lists of a re-ranker.
      is_whole: whether that is the whole part.
      resamples: of users.
      reason: why nothing could be measured; else "".
    """

    part: str
    kind: str
    metrics: dict[str, object]
    slices: dict[str, dict[str, dict[str, object]]]
    intervals: dict[str, Interval]
    examples: int
    is_whole: bool
    resamples: int
    reason: str = ""


def measure(
    scenario: Scenario,
    model: AnyModel,
    part: str = "validation",
    rows: int = DEFAULT_CARD_ROWS,
) -> Performance:
    """Judges the trained model, before the export changes it.

    Args:
      scenario: the run's.
      model: its model.
      part: validation, or test, which is to be read once.
      rows: examples that are read; files hold users in the order of a hash, so the first ones are
        those of some users. The last batch is read to its end.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
      trainer.model_kinds.NotFiniteError: a score is infinite or NaN.
    """
    scores = run_scores(scenario, model, part)
    read = _Limited(scores.predictions, rows)
    slices = [*_DIVISIONS, *(f"{KNOWLEDGE}{source}" for source in countable_sources(scenario))]
    resamples = scenario.evaluation.bootstrap_resamples
    metrics, intervals, reason = PartMetrics({}), {}, ""
    with tempfile.TemporaryDirectory(prefix="model_card_") as folder:
        file = Path(folder) / "scores.parquet"
        try:
            limited = dataclasses.replace(scores, predictions=read)
            metrics = evaluate_scores_of(limited, slices, file)
            intervals_of = _rank_intervals if model.kind == RETRIEVAL else _score_intervals
            intervals = intervals_of(
                pq.read_table(file), resamples, scenario.evaluation.bootstrap_seed
            )
        except CommandError as error:
            if not file.exists():
                raise
            reason = str(error)
    return Performance(
        part=part,
        kind=model.kind,
        metrics=metrics.metrics,
        slices=metrics.slices,
        intervals=intervals,
        examples=read.count,
        is_whole=read.is_whole,
        resamples=resamples,
        reason=reason,
    )


class _Limited:
    """Predictions until there are enough.

    Attributes:
      count: examples so far.
      is_whole: whether none was left.
    """

    def __init__(self, predictions: Iterable[Predictions], limit: int):
        self.count = 0
        self.is_whole = True
        self._predictions = predictions
        self._limit = limit

    def __iter__(self) -> Iterator[Predictions]:
        for predictions in self._predictions:
            if self.count >= self._limit:
                self.is_whole = False
                return
            self.count += len(predictions.user_ids)
            yield predictions


def _score_intervals(table: pa.Table, resamples: int, seed: int) -> dict[str, Interval]:
    """AUC, loss, GAUC and calibration as differences from what needs no model.

    The AUC is compared with that of equal scores for everybody, which is 0.5 in every resample; the
    mean score with the base rate, so that its interval says how far off the scores are.
    """
    labels = table[LABEL].to_numpy().astype(np.float64)
    scores = table[SCORE].to_numpy().astype(np.float64)
    user_ids = table[USER_ID].to_numpy(zero_copy_only=False)
    nothing = np.zeros([1, len(labels)])
    _, users = np.unique(user_ids, return_inverse=True)
    ranked = RankedLists(users, labels, scores)
    in_gauc = ranked.has_both_classes[users]
    auc = bootstrap_auc_difference(labels, user_ids, nothing, scores[np.newaxis], resamples, seed)
    loss = bootstrap_mean_difference(
        user_ids, nothing, log_losses(labels, scores)[np.newaxis], resamples, seed
    )
    calibration = bootstrap_mean_difference(
        user_ids, labels[np.newaxis], scores[np.newaxis], resamples, seed
    )
    differences = {
        "auc": _interval(auc, AUC_OF_CHANCE),
        "logloss": _interval(loss),
        "mean_score_minus_base_rate": _interval(calibration),
    }
    if in_gauc.any():
        own = ranked.auc()[users[in_gauc]][np.newaxis]
        gauc = bootstrap_mean_difference(
            user_ids[in_gauc], np.zeros_like(own), own, resamples, seed
        )
        differences["gauc"] = _interval(gauc)
    return differences


def _rank_intervals(table: pa.Table, resamples: int, seed: int) -> dict[str, Interval]:
    """Recall among the first ten, of all items and of new ones."""
    user_ids = table[USER_ID].to_numpy(zero_copy_only=False)
    among_all, among_new = ranks_of({name: table[name].to_numpy() for name in RANK_COLUMNS})
    nothing = np.zeros([1, len(user_ids)])
    return {
        name: _interval(
            bootstrap_mean_difference(
                user_ids, nothing, ranks.hits(_FIRST)[np.newaxis], resamples, seed
            )
        )
        for name, ranks in (
            (f"new_items_recall_at_{_FIRST}", among_new),
            (f"recall_at_{_FIRST}", among_all),
        )
    }


def _interval(difference: Difference, constant: float = 0.0) -> Interval:
    """From the difference to a constant to the metric itself."""
    return Interval(
        difference.difference + constant, difference.low + constant, difference.high + constant
    )


CARD_JSON = "assets.extra/model_card.json"
CARD_MARKDOWN = "assets.extra/model_card.md"
FORMAT_VERSION = 1


def write_model_card(
    version_folder: Path,
    run: RunFolder,
    scenario: Scenario,
    performance: Performance,
    number_format: str,
    proof: Proof | None,
) -> Path:
    """Writes the card into a version folder, as Markdown and as JSON; see `model_card`.

    Returns:
      The Markdown file.
    """
    forgotten = Forgotten.of(RefreshFolder(version_folder).path)
    card = model_card(run, scenario, performance, number_format, proof, forgotten)
    path = version_folder / CARD_MARKDOWN
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=2, allow_nan=False) + "\n"
    (version_folder / CARD_JSON).write_text(text, encoding="utf-8")
    path.write_text(to_markdown(card), encoding="utf-8")
    return path


def model_card(
    run: RunFolder,
    scenario: Scenario,
    performance: Performance,
    number_format: str,
    proof: Proof | None,
    forgotten: Forgotten = NOTHING_FORGOTTEN,
) -> dict[str, Any]:
    """The card as JSON values; None where something is not known.

    Args:
      run: the exported run.
      scenario: the run's.
      performance: what was measured (`serving.model_card.card.measure`).
      number_format: of the stored vectors.
      proof: None where none was asked for.
      forgotten: whose hashes the version has.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file of the work directory is damaged.
      trainer.run_folder.RunFolderError: the run is incomplete.
    """
    kind, metrics = performance.kind, run.read_metrics()
    knowledge = knowledge_facts(scenario)
    card = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": scenario.serving.model_name,
            "what": MODEL_KINDS[kind].description,
            "kind": kind,
            "backbone": scenario.model.backbone,
            "adapter": scenario.model.adapter,
            "match": scenario.model.match,
            "prior": scenario.model.prior,
            "tasks": list(scenario.model.tasks),
            "trainable_weights": metrics["trainable_weights"],
            "run": run.path.name,
            "trained_by_code_version": metrics["code_version"],
        },
        "use": {"intended": MODEL_KINDS[kind].intended_use, "limits": limits(scenario, kind)},
        "data": data_facts(scenario, kind),
        "knowledge": knowledge,
        "performance": asdict(performance),
        "training": {
            "settings": scenario.training.model_dump(mode="json"),
            "epochs": metrics["epochs"],
            "best_epoch": metrics["best_epoch"],
            "selected_by": metrics["selection_metric"],
            "samples": metrics["train_samples"],
            "seconds": metrics["train_seconds"],
        },
        "number_format": number_format,
        "proof": None if proof is None else proof.to_json(),
        "privacy": privacy(scenario, kind, knowledge, forgotten),
    }
    return finite(card)


def limits(scenario: Scenario, kind: str) -> list[str]:
    """What the model is not good for."""
    sentences = [
        _judged_on(scenario, kind),
        "Users it has never seen are served by their history alone, unless they have knowledge; "
        "users without history, knowledge and profile all get the same scores.",
        "Items that were not in the training data share a default embedding and are told apart by "
        "their attributes and their knowledge only; the slice cold_item says how well.",
        "It does not know anything that happened after the data ends; requests bring the history "
        "up to date, and nothing else does.",
    ]
    if kind == CTR:
        sentences.append(
            "Scores are probabilities on data like the training data. Other shares of positive "
            "interactions, other surfaces and other times need a calibration of their own."
        )
    if kind == RERANK and scenario.training.list_loss == "listwise":
        sentences.append(
            "It was trained listwise: a score is a share of its list, no probability, and scores "
            "of different lists cannot be compared."
        )
    if scenario.training.class_weights[0] != scenario.training.class_weights[1]:
        sentences.append("It was trained with class weights, so its scores are not calibrated.")
    if scenario.knowledge_sources():
        sentences.append(
            "Its knowledge was written by a language model, which can be wrong, out of date, or "
            "biased about people, works and places; nobody is known to have checked every answer."
        )
    return sentences


def _judged_on(scenario: Scenario, kind: str) -> str:
    """What the metrics are about: items that users came to see, or drawn ones beside them."""
    negatives = scenario.data.negatives
    drawn = "every item alike" if negatives.by == "uniform" else "by popularity"
    if kind == CTR and negatives.per_positive:
        beside = f"sampled negatives ({negatives.per_positive} for each positive sample, {drawn})"
    elif kind == RERANK:
        beside = "sampled items, which fill up the lists (every item alike)"
    else:
        return (
            "It was judged offline, on logged interactions. Those are of items that users came to "
            "see, so the metrics do not say how users would react to other orders."
        )
    return (
        f"It was judged offline, on logged interactions and {beside}. Nobody knows whether the "
        "users ever saw the sampled items, so the metrics say how well what users took is told "
        "from what was drawn, not how users would react to other orders."
    )


def privacy(
    scenario: Scenario,
    kind: str,
    knowledge: Mapping[str, Any],
    forgotten: Forgotten = NOTHING_FORGOTTEN,
) -> list[str]:
    """What the export holds about people.

    Args:
      scenario: the run's.
      kind: of the model.
      knowledge: `knowledge_facts`.
      forgotten: whose hashes the version has.
    """
    linked = [name for name, facts in knowledge.items() if facts["made_from"] == "links"]
    sentences = [
        "The SavedModel holds the raw ids of all items, which a search answers with."
        if kind == RETRIEVAL
        else "The SavedModel holds no raw ids of items but a 63-bit hash (FarmHash) of each, which "
        "whoever has the ids can compute again.",
        "Beside them are the items' attributes and statistics of their ratings, as counts and "
        "means over users.",
        f"It holds no interaction of anybody, {'' if linked else 'no titles, '}no prompts and no "
        "answer; the warm-up requests have empty ids.",
    ]
    if linked:
        sentences.append(
            f"Of the sources of links ({', '.join(linked)}) assets.extra/refresh/ holds the raw "
            "ids and titles of items and the names that an LLM's answers gave."
        )
    users = [name for name, facts in knowledge.items() if facts["entity"] == "user"]
    if users:
        sentences += [
            f"Of the users who have user knowledge ({', '.join(users)}) it holds no raw ids but a "
            "63-bit hash of each, with vectors that were computed from an LLM's answer about the "
            "user or the user's group. Whoever has a user's id can compute the hash again and look "
            "the vectors up. They are data about persons: who may read the folder, and for how "
            "long it is kept, is to be decided as for the log itself.",
            "'python -m serving refresh --forget-user' writes a next version in which a user is "
            "unknown, and 'python -m preprocessing forget' takes the user out of the data; older "
            "versions are to be deleted.",
        ]
    elif not forgotten:
        sentences.append(_NO_USER_IDS)
    if forgotten:
        sentences.append(of_forgotten_ids(forgotten))
    if knowledge:
        sentences.append(
            f"assets.extra/refresh/ says of every item{' and of these users' if users else ''} "
            "whether there is an answer, of the item's or user's own or of a group, of which group "
            "(ids of groups stand there as they are in the data), and has a hash of the vector; "
            "and it holds the trained functions."
        )
    fitted = [
        name for name, facts in knowledge.items() if (facts["encoder"] or {}).get("kind") == "tfidf"
    ]
    if fitted:
        sentences.append(
            f"It also holds the terms of the TF-IDF encoder ({', '.join(fitted)}): words that the "
            "encoded texts use, each with how rare it is."
        )
    if scenario.data.profiles is not None and scenario.model.user_profile:
        names = ", ".join(scenario.data.profiles.attributes)
        sentences.append(
            f"Requests carry what is known of the user's profile ({names}), whose values known at "
            "training stand in the graph; whether these may be used to rank is for the operator to "
            "decide. The slices of profile attributes of 'python -m trainer evaluate --slices all' "
            "show differences between groups."
        )
    return sentences


def of_forgotten_ids(forgotten: Forgotten) -> str:
    """What a version holds of those whom it forgot."""
    users, items = (
        sum(len(getattr(each, name)) for each in forgotten.by_salt()) for name in ("users", "items")
    )
    return (
        f"{_HASHES_OF_FORGOTTEN} (users: {users:,}, items: {items:,}), salted, and the salt with "
        "them: whoever has the file and an id can tell whether it was forgotten."
    )


def privacy_of_refreshed(sentences: Sequence[str], forgotten: Forgotten) -> list[str]:
    """The sentences of `privacy` for a version that a refresh made.

    Args:
      sentences: of the version before.
      forgotten: whose hashes the new version has; not nobody.
    """
    outdated = (_NO_USER_IDS, _HASHES_OF_FORGOTTEN)
    kept = [sentence for sentence in sentences if not sentence.startswith(outdated)]
    return [*kept, of_forgotten_ids(forgotten)]


_NO_USER_IDS = "It holds no user ids, neither raw nor hashed."
_HASHES_OF_FORGOTTEN = "assets.extra/refresh/forgotten.json has hashes of forgotten ids"


_FURTHER_METRICS = ("calibration_error", "mean_score", "base_rate", "mrr")
"""Metrics of the whole part beside those of the slices' table."""

_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card that `model_card` gives, under the usual headings."""
    performance, proof = card["performance"], card["proof"]
    kind = performance["kind"]
    slices = {
        name: {group: values for group, values in groups.items() if values["n"]}
        for name, groups in performance["slices"].items()
    }
    differences = [] if proof is None else chain(*map(dict.values, proof["to_checkpoint"].values()))
    values = {
        **card,
        "further_metrics": (*MODEL_KINDS[kind].shown_metrics, *_FURTHER_METRICS),
        "slices_header": reports.header(kind),
        "slices_rows": reports.rows(slices, kind),
        # A difference that is not finite is null in the card.
        "largest_difference": max(
            (math.inf if one is None else one for one in differences), default=None
        ),
    }
    return render(_TEMPLATE, values, {"metric_name": display_name})
