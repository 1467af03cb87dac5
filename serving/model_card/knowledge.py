"""What a model knows from LLM answers: by whom they were written, and whom they are about."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.file_hash import file_sha256
from configs.scenario import Scenario
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.records.item_attributes import read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.leak_rule import LeakRule, leak_rules
from preprocessing.records.vocabularies import read_vocabulary
from serving.refresh.description import made_from

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
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
    """
    return {source: _facts(scenario, source, rule) for source, rule in leak_rules(scenario).items()}


def countable_sources(scenario: Scenario) -> list[str]:
    """Sources that the model reads and whose records are few enough to be read again."""
    return [
        source
        for source in scenario.knowledge_sources()
        if _manifest(scenario, source)["counts"].get("knowledge_records", 0) <= MOST_RECORDS
    ]


def _facts(scenario: Scenario, source: str, rule: LeakRule) -> dict[str, Any]:
    manifest = _manifest(scenario, source)
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
    if counts.get("knowledge_records", 0) > MOST_RECORDS:
        return {
            "of": None,
            "why": f"more than {MOST_RECORDS:,} records, which were not read again for this card",
        }
    if entity == "item":
        known: Sequence[str] = read_item_attributes(examples.item_attributes).item_ids
    else:
        known = read_vocabulary(examples.vocabulary("user_id"))
    records = read_knowledge(scenario.work_dir, source)
    origins = dict(zip(records.entity_ids, records.extraction, strict=True))
    found = Counter(_origin(origins.get(one)) for one in known)
    return {
        "of": f"{entity}s of the {'catalogue and the log' if entity == 'item' else 'vocabulary'}",
        "total": len(known),
        **{name: found[name] for name in ("individual", "group", "missing")},
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
            found = _models_in(path)
            names += found
            if not found:
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


def _manifest(scenario: Scenario, source: str) -> dict[str, Any]:
    path = WorkDirectory(scenario.work_dir).knowledge(source).manifest
    return json.loads(path.read_text(encoding="utf-8"))
