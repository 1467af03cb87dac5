"""Versions that can be refreshed, answers for them, and what must come of both.

The oracle builds the run's model over tables that hold the new answers from the start, gives it the
trained and frozen weights of the run, and exports it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from configs.scenario import Scenario
from configs.serving import IdType, NumberFormat
from models.adapters.pq import ProductQuantizationAdapter
from models.building import AnyModel, build_model
from models.match import MatchTables
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.records.knowledge import KnowledgeVectors, read_knowledge
from preprocessing.records.layout import WorkDirectory
from serving.export import serving_module
from serving.refresh.incoming import AnswerFiles
from serving.refresh.parts import RefreshParts
from serving.refresh.refreshing import RefreshRequest, refresh
from serving.request_features import input_specifications
from tests.runs import WrittenRun
from trainer.run_folder import create_weights
from trainer.tables import read_model_tables

Records = Mapping[str, KnowledgeVectors]
Answers = Sequence[dict[str, str]]

NEW_ITEM, NEW_USER = "newcomer", "arrival"
CHANGED_ITEM, GROUPED_ITEM, UNKNOWN_ITEM = "1", "45", "60"
GROUP = "g_Drama"


def answer(
    source: str, entity_id: str, text: str, extraction: str = "individual"
) -> dict[str, str]:
    return {"source": source, "entity_id": entity_id, "extraction": extraction, "answer": text}


NEW_ANSWERS: Answers = (
    answer("item", CHANGED_ITEM, "A quiet story of grief, family and silence."),
    answer("item", GROUPED_ITEM, "A western of horses, dust and duels, and one joke."),
    answer("item", UNKNOWN_ITEM, "Jokes, wit and laughter among the horses."),
    answer("item", NEW_ITEM, "Explosions, chases and stunts, from first to last."),
    answer("item", GROUP, "All of these are about family, laughter and silence.", "collective"),
    answer("user", "u1", "Liked Film 3 among 40, with jokes, wit and laughter."),
    answer("user", NEW_USER, "Liked Film 8 among 12, with horses, dust and duels."),
)
"""Everything that an answer can do: change a row, give a member of a group one of its own, let an
item, a user or somebody without any knowledge join, change a group's row."""


def write_answers(path: Path, answers: Iterable[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in answers), encoding="utf-8")
    return str(path)


def refreshed(
    base: Path, answers: Answers = NEW_ANSWERS, folder: Path | None = None, **options: Any
) -> dict[str, Any]:
    """Refreshes a model with answers."""
    file = write_answers((folder or base.parent) / "new_answers.jsonl", answers)
    return refresh(RefreshRequest(base, AnswerFiles([file]), **options))


def export_refreshable(
    run: WrittenRun,
    base: Path,
    number_format: NumberFormat = "float32",
    id_type: IdType = "string",
    signatures: bool = False,
) -> Path:
    """Writes version 1 of a run, without manifest, card and warm-up."""
    scenario, model = run.folder.load_model()
    parts = RefreshParts.of(model, scenario, id_type)
    shutil.rmtree(base, ignore_errors=True)
    save(model, base / "1", number_format, id_type, signatures)
    parts.write(base / "1")
    return base / "1"


def save(
    model: AnyModel,
    folder: Path,
    number_format: NumberFormat = "float32",
    id_type: IdType = "string",
    signatures: bool = False,
) -> Path:
    """Writes a model's SavedModel, with one signature or none: tracing them takes long."""
    module = serving_module(model, number_format, id_type)
    traced = None
    if signatures:
        specifications = input_specifications(module.features, None, [None])
        scores = tf.function(lambda **raw: module.scores(raw), autograph=False)
        traced = {"serving_default": scores.get_concrete_function(**specifications)}
    tf.saved_model.save(module, str(folder), signatures=traced)
    return folder


def records_with(scenario: Scenario, answers: Answers) -> dict[str, KnowledgeVectors]:
    """The knowledge records of a scenario as if the answers had been there from the start."""
    records = {
        source: read_knowledge(scenario.work_dir, source) for source in scenario.knowledge_sources()
    }
    for each in answers:
        if each["source"] in records:
            source = each["source"]
            folder = WorkDirectory(scenario.work_dir).knowledge(source).path
            encoder = TfidfEncoder.load(scenario.knowledge.encoder, str(folder))
            vector = encoder.encode([each["answer"]]).vectors[0].astype(np.float16)
            put = _with_group if each["extraction"] == "collective" else _with_entity
            records[source] = put(records[source], each["entity_id"], vector)
    return records


def oracle_model(run: WrittenRun, records: Records) -> AnyModel:
    """The run's model over other knowledge records, with the same weights."""
    scenario, old = run.scenario, run.model
    tables = read_model_tables(scenario)
    items = [
        entity
        for source, each in records.items()
        if scenario.knowledge.answers[source].entity == "item"
        for entity in each.entity_ids
    ]
    tables = replace(tables, catalogue=tables.catalogue.with_items(items), knowledge=records)
    model = build_model(scenario, tables)
    create_weights(model)
    # Tables with one row for each item or answer are of another size; all else was trained, or
    # frozen at training.
    for new, trained in zip(model.variables, old.variables, strict=True):
        if new.shape == trained.shape:
            new.assign(trained)
    if isinstance(model.adapter, ProductQuantizationAdapter):
        for source, table in model.adapter.tables.items():
            vectors = table.vectors(np.arange(1, table.num_rows)).numpy()
            model.adapter._codes[source][1:].assign(model.adapter.codes_of(source, vectors))
    new_inputs, old_inputs = model.inputs_preparation, old.inputs_preparation
    for source, match in (new_inputs.matches.matches if new_inputs.matches else {}).items():
        trained_match = old_inputs.matches.matches[source]
        if source in _changed(run, records):
            vectors = np.asarray(_table_vectors(records[source]), np.float32)
            table = MatchTables.of_rows(trained_match.reduce(vectors))
            match._tables._table.assign(table.table)
            match._tables._slots.assign(
                np.where(table.has_vector, np.arange(len(table.has_vector)), 0)
            )
    for prior, trained_prior in zip(new_inputs.priors, old_inputs.priors, strict=True):
        source = prior.name.removesuffix("_prior")
        _set_prior(prior, trained_prior, model, run, source, records)
    return model


def stored_by_name(folder: Path) -> dict[str, np.ndarray]:
    """Tables of items, users and answers by the names that an export gives them."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    return {
        attribute.full_name: reader.get_tensor(attribute.checkpoint_key)
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.full_name.startswith(("items/", "users/", "knowledge/"))
    }


def tables_by_id(folder: Path, items: Sequence[str], users: Sequence[str]) -> dict[str, np.ndarray]:
    """What a SavedModel stores of items and users, table -> one row for each id.

    Knowledge rows are replaced by what stands there, because their order means nothing.
    """
    stored = stored_by_name(folder)
    collected = {}
    for prefix, ids in (("items", items), ("users", users)):
        if f"{prefix}/index/keys" not in stored:
            continue
        keys = stored[f"{prefix}/index/keys"].tolist()
        hashed = tf.strings.to_hash_bucket_fast(list(ids), 2**63 - 1).numpy().tolist()
        rows = [
            stored[f"{prefix}/index/rows"][keys.index(key)] if key in keys else 0 for key in hashed
        ]
        for name, table in stored.items():
            kind = name.removeprefix(f"{prefix}/").split("/")[0]
            if not name.startswith(f"{prefix}/") or kind == "index":
                continue
            if kind not in ("knowledge_row", "match_row"):
                collected[name] = table[rows]
                continue
            source = name.split("/")[-1]
            within = "augmented" if kind == "knowledge_row" else "match"
            for source_name, values in stored.items():
                if source_name.startswith(f"knowledge/{source}/{within}/"):
                    if source_name.endswith("slots"):
                        values = values > 0
                    if not source_name.endswith("whitening"):
                        collected[f"{prefix}: {source_name}"] = values[table[rows]]
    return collected


def _with_entity(records: KnowledgeVectors, entity_id: str, vector: np.ndarray) -> KnowledgeVectors:
    known = dict(zip(records.entity_ids, range(len(records.entity_ids)), strict=True))
    vectors = records.vectors.copy()
    extraction = list(records.extraction)
    if entity_id in known:
        vectors[known[entity_id]] = vector
        extraction[known[entity_id]] = "individual"
        return replace(records, vectors=vectors, extraction=extraction)
    return replace(
        records,
        entity_ids=[*records.entity_ids, entity_id],
        vectors=np.concatenate([vectors, vector[np.newaxis]]),
        extraction=[*extraction, "individual"],
        group_ids=[*records.group_ids, ""],
    )


def _with_group(records: KnowledgeVectors, group: str, vector: np.ndarray) -> KnowledgeVectors:
    vectors = records.vectors.copy()
    members = [
        row
        for row, each in enumerate(records.group_ids)
        if each == group and records.extraction[row] == "collective"
    ]
    vectors[members] = vector
    return replace(records, vectors=vectors)


def _changed(run: WrittenRun, records: Records) -> set[str]:
    return {
        source
        for source, each in records.items()
        if not np.array_equal(each.vectors, read_knowledge(run.scenario.work_dir, source).vectors)
    }


def _table_vectors(records: KnowledgeVectors) -> list[np.ndarray]:
    """Vectors of a table's rows: one for each individual answer and each group, row 0 first."""
    rows, groups = [np.zeros(records.vectors.shape[1])], set()
    for vector, extraction, group in zip(
        records.vectors, records.extraction, records.group_ids, strict=True
    ):
        if extraction == "individual" or group not in groups:
            rows.append(vector)
        if extraction == "collective":
            groups.add(group)
    return rows


def _set_prior(
    prior: Any, trained: Any, model: AnyModel, run: WrittenRun, source: str, records: Records
) -> None:
    """Keeps the cross-fitted numbers of items whose knowledge stays; predicts those of others."""
    old_items = run.model.inputs_preparation.catalogue.item_ids
    numbers = trained(tf.range(1, trained.num_rows)).numpy()
    number_of = dict(zip(old_items, numbers, strict=True))
    before = _vector_of(read_knowledge(run.scenario.work_dir, source))
    after = _vector_of(records[source])
    table = prior._table.numpy()
    for row, item in enumerate(model.inputs_preparation.catalogue.item_ids, start=1):
        table[row, -1] = number_of.get(item, 0.0)
        if item in after and not np.array_equal(after[item], before.get(item, [])):
            (table[row, -1],) = trained.prediction.predict(after[item][np.newaxis])
    prior._table.assign(table)


def _vector_of(records: KnowledgeVectors) -> dict[str, np.ndarray]:
    return dict(zip(records.entity_ids, records.vectors, strict=True))
