"""A model card as Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs.scenario import Scenario
from preprocessing.records.contract import CTR, RERANK, RETRIEVAL
from trainer.evaluation import reports
from trainer.metrics import people_call
from trainer.model_kinds import MODEL_KINDS

WHAT_IT_IS = {
    CTR: "A ranking model: from a user's history and a candidate item to the probability that the "
    "user likes the item.",
    RERANK: "A re-ranker: from a user's history and a list of candidates to a score of every "
    "candidate in the others' presence.",
    RETRIEVAL: "A retrieval model: from a user's history to the items with the largest inner "
    "products with the user's vector, out of the whole catalogue.",
}

INTENDED_USE = {
    CTR: "Ordering candidates that something else has chosen, for users of the service whose data "
    "it was trained on.",
    RERANK: "Ordering the short list that a ranking model has left, for users of the service whose "
    "data it was trained on.",
    RETRIEVAL: "Choosing some hundred candidates for a ranking model, for users of the service "
    "whose data it was trained on.",
}

LEAK_RULES = {
    "verified": "verified: no sample is among the interactions that the LLM may have seen; where "
    "prompts are about users, the leak check found every interaction that they show",
    "declared": "declared: the configuration says that the groups were built from interactions "
    "before the samples only (groups_verified), which nothing checks",
    "declared_training": "declared: the configuration says that the answers were made from the "
    "training part (seen: training). Training samples were seen by the LLM; only validation and "
    "test samples are held to the leak rule",
    "unverified": "unverified: nothing shows that its answers or groups were made without the "
    "interactions that the model is judged on, so the metrics below may be too good",
}


def limits(scenario: Scenario, kind: str) -> list[str]:
    """What the model is not good for."""
    found = [
        _judged_on(scenario, kind),
        "Users it has never seen are served by their history alone, unless they have knowledge; "
        "users without history, knowledge and profile all get the same scores.",
        "Items that were not in the training data share a default embedding and are told apart by "
        "their attributes and their knowledge only; the slice cold_item says how well.",
        "It does not know anything that happened after the data ends; requests bring the history "
        "up to date, and nothing else does.",
    ]
    if kind == CTR:
        found.append(
            "Scores are probabilities on data like the training data. Other shares of positive "
            "interactions, other surfaces and other times need a calibration of their own."
        )
    if kind == RERANK and scenario.training.list_loss == "listwise":
        found.append(
            "It was trained listwise: a score is a share of its list, no probability, and scores "
            "of different lists cannot be compared."
        )
    if scenario.training.class_weights[0] != scenario.training.class_weights[1]:
        found.append("It was trained with class weights, so its scores are not calibrated.")
    if scenario.knowledge_sources():
        found.append(
            "Its knowledge was written by a language model, which can be wrong, out of date, or "
            "biased about people, works and places; nobody is known to have checked every answer."
        )
    return found


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


def privacy(scenario: Scenario, kind: str, knowledge: Mapping[str, Any]) -> list[str]:
    """What the export holds about people.

    Args:
      scenario: the run's.
      kind: of the model.
      knowledge: `serving.model_card.card.knowledge_facts`.
    """
    found = [
        "The SavedModel holds the raw ids of all items, which a search answers with."
        if kind == RETRIEVAL
        else "The SavedModel holds no raw ids of items but a 63-bit hash (FarmHash) of each, which "
        "whoever has the ids can compute again.",
        "Beside them are the items' attributes and statistics of their ratings, as counts and "
        "means over users.",
        "It holds no interaction of anybody, no titles, no prompts and no answer; the warm-up "
        "requests have empty ids.",
    ]
    users = [name for name, facts in knowledge.items() if facts["entity"] == "user"]
    if users:
        found += [
            f"Of the users who have user knowledge ({', '.join(users)}) it holds no raw ids but a "
            "63-bit hash of each, with vectors that were computed from an LLM's answer about the "
            "user or the user's group. Whoever has a user's id can compute the hash again and look "
            "the vectors up. They are data about persons: who may read the folder, and for how "
            "long it is kept, is to be decided as for the log itself.",
            "To take a user out, remove the answer, run 'python -m preprocessing encode' and "
            "export a newly trained run; a version folder cannot be edited.",
        ]
    else:
        found.append("It holds no user ids, neither raw nor hashed.")
    if knowledge:
        found.append(
            f"assets.extra/refresh/ says of every item{' and of these users' if users else ''} "
            "whether there is an answer, of the item's or user's own or of a group, of which group "
            "(ids of groups stand there as they are in the data), and has a hash of the vector; "
            "and it holds the trained functions."
        )
    fitted = [
        name for name, facts in knowledge.items() if (facts["encoder"] or {}).get("kind") == "tfidf"
    ]
    if fitted:
        found.append(
            f"It also holds the terms of the TF-IDF encoder ({', '.join(fitted)}): words that the "
            "encoded texts use, each with how rare it is."
        )
    if scenario.data.profiles is not None and scenario.model.user_profile:
        names = ", ".join(scenario.data.profiles.attributes)
        found.append(
            f"Requests carry what is known of the user's profile ({names}), whose values known at "
            "training stand in the graph; whether these may be used to rank is for the operator to "
            "decide. The slices of profile attributes of 'python -m trainer evaluate --slices all' "
            "show differences between groups."
        )
    return found


NOT_KNOWN = "not known"

_FURTHER = ("calibration_error", "mean_score", "base_rate", "mrr")
"""Metrics of the whole part beside those of the slices' table."""

_CALIBRATION = "mean_score_minus_base_rate"

_TRAINING = ("optimizer", "learning_rate", "schedule", "batch_size", "seed", "precision")
_SPLITS = {
    "time": "by time within each user",
    "user": "by user: validation and test users are new",
    "global_time": "by time over all users",
    "column": "by a column of the interactions",
}


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card as `serving.model_card.card.model_card` gives it, under the usual headings."""
    sections = {
        "Model": _model(card),
        "Intended use and limits": [card["use"]["intended"], _list(card["use"]["limits"])],
        "Data": _data(card["data"]),
        "Knowledge": _knowledge(card),
        "Metrics": _metrics(card["performance"]),
        "Training": _training(card["training"]),
        "Number format": _number_format(card),
        "Privacy and ethics": [_list(card["privacy"])],
    }
    parts = [f"# {_plain(card['model']['name'])}", card["model"]["what"]]
    for heading, paragraphs in sections.items():
        parts += [f"## {heading}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _model(card: Mapping[str, Any]) -> list[str]:
    model = card["model"]
    rows = [
        ["backbone", model["backbone"]],
        ["knowledge adapter", model["adapter"]],
        ["knowledge match", model["match"]],
        ["knowledge prior", "yes" if model["prior"] else "no"],
        ["further tasks", ", ".join(model["tasks"]) or "none"],
        ["trained numbers", _count(model["trainable_weights"])],
        ["run", model["run"]],
        ["exported", card["created"]],
        ["code version of the training", model["trained_by_code_version"]],
    ]
    return [_table(["", ""], rows)]


def _data(data: Mapping[str, Any]) -> list[str]:
    rows = [
        ["scenario", data["scenario"]],
        ["interactions from", ", ".join(data["files"])],
        *[
            [name.replace("_", " "), _count(data[name])]
            for name in (
                *("users", "items", "interactions", "training_interactions"),
                "rejected_interactions",
            )
        ],
    ]
    if data["sampled_negatives"]:
        rows.append(["sampled negatives among the samples", _count(data["sampled_negatives"])])
    split = data["split"]
    how = _SPLITS[split["by"]]
    parts = [
        [
            part,
            _count(data["examples"].get(part)),
            _count((data["positives"] or {}).get(part)),
            _days(data["dates"].get(part)),
        ]
        for part in data["examples"]
    ]
    licence = data["licence"]
    return [
        _table(["", ""], rows),
        f"Split {how}, {_parts(split)}. Samples start after a user's first k_u interactions, at "
        f"most {split['knowledge_history_cap']}, which an LLM may have seen.",
        _table(["part", "samples", "positive", "days"], parts),
        f'Licence: {licence["file"]} ("{licence["begins"]}"); read it before any use.'
        if licence
        else f"Licence of the data: {NOT_KNOWN}; no licence file lies beside the interactions.",
    ]


def _parts(split: Mapping[str, Any]) -> str:
    """What was asked for, or what came out where nothing but the data decides."""
    if split["fractions"] is not None:
        return " : ".join(f"{100 * share:g}" for share in split["fractions"]) + " %"
    if split["shares"] is None:
        return f"shares {NOT_KNOWN}"
    return ", ".join(f"{100 * share:.1f} % {part}" for part, share in split["shares"].items())


def _knowledge(card: Mapping[str, Any]) -> list[str]:
    if not card["knowledge"]:
        return ["The model reads no knowledge."]
    slices = card["performance"]["slices"]
    part = card["performance"]["part"]
    paragraphs = []
    for source, facts in card["knowledge"].items():
        samples = slices.get(f"knowledge.{source}")
        rows = [
            ["about", f"{facts['entity']}s"],
            ["made from", facts["made_from"]],
            ["LLM", _llms(facts["llms"])],
            ["encoder", _encoder(facts)],
            [f"{facts['entity']}s covered", _coverage(facts["coverage"])],
            [f"{part} samples covered", _shares(samples)],
            ["leak rule", LEAK_RULES[facts["leak_rule"]]],
        ]
        paragraphs += [f"### Source `{source}`", _table(["", ""], rows)]
    violations = card["data"]["leak_violations"]
    paragraphs.append(
        f"Leak check of the samples: {_count(violations)} violations. It looks up every "
        "interaction that a prompt about a user shows."
    )
    return paragraphs


def _metrics(found: Mapping[str, Any]) -> list[str]:
    part, kind = found["part"], found["kind"]
    where = (
        "Measured on the validation part, by which the epoch, and perhaps the settings, were "
        "chosen: expect a little less on new data."
        if part == "validation"
        else "Measured on the test part, read for this card. Epochs were chosen on the validation "
        "part."
    )
    if found["reason"]:
        return [f"Nothing could be measured on the {part} part: {found['reason']}."]
    read = "the whole part" if found["is_whole"] else "the first of the part's files"
    rows = [
        [
            "mean score less base rate" if name == _CALIBRATION else people_call(name),
            _number(interval["value"]),
            f"{_number(interval['low'])} to {_number(interval['high'])}",
        ]
        for name, interval in found["intervals"].items()
    ]
    metrics = found["metrics"]
    rows += [
        [people_call(name), _number(metrics[name]), ""]
        for name in (*MODEL_KINDS[kind].shown_metrics, *_FURTHER)
        if name in metrics and name not in found["intervals"]
    ]
    slices = {
        name: {group: values for group, values in groups.items() if values["n"]}
        for name, groups in found["slices"].items()
    }
    return [
        where,
        f"{_count(found['examples'])} examples ({read}). Intervals: 95 %, percentile bootstrap "
        f"over users, {_count(found['resamples'])} resamples; they do not cover the choice of the "
        "training's seed.",
        _table(["metric", "value", "95 % interval"], rows),
        "### Slices",
        _table(reports.header(kind), reports.rows(slices, kind)),
        "Groups without a sample are left out, and a group of few samples says little. The JSON "
        "file beside this one has all metrics, docs/evaluation.md their formulas.",
    ]


def _training(training: Mapping[str, Any]) -> list[str]:
    settings = training["settings"]
    rows = [[name.replace("_", " "), str(settings.get(name, NOT_KNOWN))] for name in _TRAINING]
    rows += [
        ["samples", _count(training["samples"])],
        ["epochs", f"{training['epochs']}, of which {training['best_epoch']} was kept"],
        ["kept by", f"{people_call(training['selected_by'])} on the validation part"],
        ["wall time", f"{training['seconds']:.0f} s"],
    ]
    return [_table(["", ""], rows)]


def _number_format(card: Mapping[str, Any]) -> list[str]:
    proof = card["proof"]
    stored = f"Augmented vectors are stored as {card['number_format']}."
    if proof is None:
        return [f"{stored} No proof was asked for (--proof none), so what that costs is unknown."]
    largest = max(
        (value for of_way in proof["to_checkpoint"].values() for value in of_way.values()),
        key=lambda value: float("inf") if value is None else value,
    )
    text = (
        f"{stored} On {_count(proof['examples'])} validation examples and "
        f"{len(proof['edge_cases'])} edge cases the export's scores were at most {largest:.2g} "
        f"from the checkpoint's, asked on these ways: {', '.join(proof['to_checkpoint'])}."
    )
    quality = proof["quality"]
    if quality is None or quality["cost"] is None:
        return [
            text,
            f"What it costs in {NOT_KNOWN if quality is None else quality['metric']}: {NOT_KNOWN}.",
        ]
    return [
        text,
        f"{people_call(quality['metric'])} on {_count(quality['rows'])} validation rows: "
        f"{quality['checkpoint']:.6f} of the checkpoint, {quality['export']:.6f} of the export, "
        f"so it costs {quality['cost']:.2g}.",
    ]


def _llms(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "none"
    names = []
    for name, count in found["names"].items():
        asked = found["asked"].get(name, {})
        others = "".join(
            f", {_count(few)} of them where {one} was asked" for one, few in asked.items()
        )
        names.append(f"{name} ({_count(count)} answers{others})")
    missing = [f"{file}: {NOT_KNOWN}, {why}" for file, why in found["not_read"].items()]
    return "; ".join([*names, *missing]) or NOT_KNOWN


def _encoder(facts: Mapping[str, Any]) -> str:
    encoder = facts["encoder"]
    if not encoder:
        return "none"
    name = " ".join(str(encoder[key]) for key in ("kind", "model") if encoder.get(key))
    return f"{name}, {facts['dimension'] or NOT_KNOWN} numbers"


def _coverage(found: Mapping[str, Any]) -> str:
    if found["of"] is None:
        return f"{NOT_KNOWN}: {found['why']}"
    total = max(1, found["total"])
    shares = [
        f"{name} {_count(found[name])} ({100 * found[name] / total:.1f} %)"
        for name in ("individual", "group", "missing")
    ]
    return f"of {_count(found['total'])} {found['of']}: {', '.join(shares)}"


def _shares(groups: Mapping[str, Any] | None) -> str:
    if not groups:
        return NOT_KNOWN
    return ", ".join(f"{name} {100 * group['share']:.1f} %" for name, group in groups.items())


def _days(dates: Mapping[str, str] | None) -> str:
    return NOT_KNOWN if dates is None else f"{dates['first']} to {dates['last']}"


def _count(value: int | None) -> str:
    return NOT_KNOWN if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.4f}"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that ends no cell and no line."""
    return " ".join(str(text).replace("|", r"\|").split())
