"""Writing a trained run as a SavedModel version that TensorFlow Serving loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypedDict

import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants, signature_def_utils, tag_constants
from tensorflow.types.experimental import ConcreteFunction

from configs.command_line import say
from configs.scenario import Scenario
from configs.serving import IdType, NumberFormat
from models.building import AnyModel
from models.ranking import RankingModel
from models.retrieving import RetrievalModel
from models.user_rows import UserRows
from serving.export_manifest import write_manifest
from serving.export_options import ExportOptions
from serving.id_types import require_whole_numbers
from serving.proof.expected import expected_scores
from serving.proof.proving import prove
from serving.proof.samples import draw_samples
from serving.ranking_module import RankingModule, RerankingModule
from serving.refresh.parts import RefreshParts
from serving.retrieval_module import RetrievalModule, user_sources
from serving.serving_module import ServingModule
from serving.stored_knowledge import store_knowledge
from serving.warmup import write_warmup_requests
from trainer.run_folder import RunFolder


class ExportResult(TypedDict):
    """Where an export is, what it offers, and how it was proved.

    Attributes:
      path: the version folder.
      version: its number.
      signatures: names of the signatures.
      proof: `serving.proof.result.Proof.to_json`; None if there was none.
    """

    path: str
    version: int
    signatures: list[str]
    proof: dict[str, object] | None


class _Written(TypedDict):
    signatures: list[str]
    proof: dict[str, object] | None


_VERSION = re.compile(r"[0-9]+")
_METHODS = {
    "classify": signature_constants.CLASSIFY_METHOD_NAME,
    "regress": signature_constants.REGRESS_METHOD_NAME,
}


def export_run(
    run: str | Path, base: str | Path, options: ExportOptions | None = None
) -> ExportResult:
    """Exports a finished run into the next version folder under a base path.

    The version is written under a hidden name, proved to score as the checkpoint does, and moved
    into place, so a server that watches the base path never sees half of it or a wrong one.

    Args:
      run: run folder of the trained model.
      base: model base path, e.g. "out/export"; versions are the integer folders in it.
      options: number format, id type, proof and model card.

    Raises:
      ConfigurationError: ids are to be whole numbers, and one is none; or there are too many
        warm-up requests.
      serving.proof.result.ProofError: the export scores otherwise; nothing is published.
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
    """
    options = options or ExportOptions()
    folder = RunFolder(run)
    scenario, model = folder.load_model()
    base = Path(base)
    base.mkdir(parents=True, exist_ok=True)
    versions = [int(path.name) for path in base.iterdir() if _VERSION.fullmatch(path.name)]
    version = max(versions, default=0) + 1
    unfinished = base / f".{version}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    path = base / str(version)
    try:
        result = _write_version(unfinished, folder, scenario, model, options)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return ExportResult(path=str(path), version=version, **result)


def _write_version(
    path: Path, run: RunFolder, scenario: Scenario, model: AnyModel, options: ExportOptions
) -> _Written:
    """Writes everything that a version folder holds."""
    serving = scenario.serving
    number_format = options.augmented_dtype or serving.augmented_dtype
    # What the checkpoint says, before the export changes the model.
    asked = None
    if options.proof != "none":
        samples = draw_samples(scenario, model, options.proof_samples)
        asked = samples, expected_scores(model, samples)
    performance = None
    if options.card_part is not None:
        from serving.model_card.performance import measure

        performance = measure(scenario, model, options.card_part, options.card_rows)
    kind, id_type = model.kind, options.id_type or serving.id_type
    refresh_parts = RefreshParts.of(model, scenario, id_type)
    module = serving_module(model, number_format, id_type)
    signatures = module.signatures()
    tf.saved_model.save(module, str(path), signatures=signatures)
    refresh_parts.write(path)
    _set_method_names(path, {*signatures} & {*_METHODS})
    write_warmup_requests(path, serving, _inputs_by_feature(module, signatures))
    proof = None
    if asked is not None:
        proof = prove(path, *asked, number_format, options.proof)
        proof.require()
        say(proof.summary())
    if performance is not None:
        from serving.model_card.card import write_model_card

        write_model_card(path, run, scenario, performance, number_format, proof)
    write_manifest(path, run, scenario, kind, number_format, proof)
    return _Written(signatures=sorted(signatures), proof=None if proof is None else proof.to_json())


def serving_module(
    model: AnyModel, number_format: NumberFormat = "float32", id_type: IdType = "string"
) -> ServingModule:
    """The served form of a model.

    Args:
      model: a trained model, which is changed on the way (`store_knowledge`).
      number_format: of the stored vectors.
      id_type: how requests write ids.

    Raises:
      ConfigurationError: ids are to be whole numbers, and one is none.
    """
    preparation = model.inputs_preparation
    item_ids = preparation.catalogue.item_ids
    if id_type == "int64":
        require_whole_numbers(item_ids, "item")
        if isinstance(preparation.user_rows, UserRows):
            require_whole_numbers(preparation.user_rows.known_users()[0], "user")
    if isinstance(model, RetrievalModel):
        vectors = model.all_item_vectors()
        store_knowledge(model, number_format, user_sources(model))
        return RetrievalModule(model, vectors, item_ids, id_type)
    store_knowledge(model, number_format)
    kind = RankingModule if isinstance(model, RankingModel) else RerankingModule
    return kind(model, id_type)


def _inputs_by_feature(
    module: ServingModule, signatures: Mapping[str, ConcreteFunction]
) -> dict[str, dict[str, tf.TensorSpec]]:
    """The inputs of signatures that do not take serialized tf.Examples."""
    features = {feature.name for feature in module.features}
    inputs = {name: function.structured_input_signature[1] for name, function in signatures.items()}
    return {name: found for name, found in inputs.items() if found.keys() <= features}


def _set_method_names(version_folder: Path, signatures: Collection[str]) -> None:
    """Marks the signatures of the Classify and Regress APIs by their method names."""
    if not signatures:
        return
    updater = signature_def_utils.MethodNameUpdater(str(version_folder))
    for signature in signatures:
        updater.replace_method_name(
            signature_key=signature, method_name=_METHODS[signature], tags=tag_constants.SERVING
        )
    updater.save()
