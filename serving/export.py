"""Writing a trained run as a SavedModel version that TensorFlow Serving loads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants, signature_def_utils, tag_constants

from configs.command_line import CommandError, say, warn_of_little_space
from configs.files import alone_in
from configs.loading import override_scenario, require_effect
from configs.scenario import Scenario
from configs.serving import IdType, Serving
from models.building import AnyModel
from models.knowledge import UserRows
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.leak_rule import leak_cautions, leak_rule_result, leak_rules
from serving.export_manifest import write_manifest
from serving.id_index import require_whole_numbers
from serving.options import IN_PLACE_OF_THE_RUNS, ExportOptions, require_base_path
from serving.proof.proving import prove
from serving.proof.samples import draw_samples, expected_scores
from serving.publishing import (
    check_number_of_requests,
    next_version,
    version_folders,
    write_warmup_requests,
    written_by_tensorflow,
)
from serving.refresh.parts import RefreshParts
from serving.refresh.version import RefreshFolder, forgotten_in
from serving.serving_module import ServingModule, serving_module
from trainer.run_folder import RunFolder


class ExportResult(TypedDict):
    """Where an export is, what it offers, and how it was proved.

    Attributes:
      path: the version folder.
      version: its number.
      signatures: names of the signatures.
      proof: `serving.proof.result.Proof.to_json`; None if there was none.
      leak_rule: source that the model reads -> what is known of it (`LeakRule`).
    """

    path: str
    version: int
    signatures: list[str]
    proof: dict[str, object] | None
    leak_rule: dict[str, str]


class _Written(TypedDict):
    signatures: list[str]
    proof: dict[str, object] | None


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
      ConfigurationError: the base path is a version folder; an option cannot be what it is in the
        run's section `serving`; ids are to be whole numbers, and one is none; there are too many
        warm-up requests; or a number format is asked for, and the model has no augmented vectors.
      CommandError: another export or refresh writes to the base path, a version in it has forgotten
        somebody whom the run knows, or a table cannot be stored (`serving_module`).
      serving.proof.result.ProofError: the export scores otherwise; nothing is published.
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
    """
    options = options or ExportOptions()
    _require_no_version(Path(base))
    folder = RunFolder(run)
    scenario, model = _loaded(folder, options)
    with alone_in(Path(base)):
        _require_still_forgotten(model, Path(base))
        with next_version(Path(base)) as version:
            result = _write_version(version.unfinished, folder, scenario, model, options)
    rules = leak_rules(scenario)
    for caution in leak_cautions(rules):
        say(f"{version.path}: {caution}")
    return ExportResult(
        path=str(version.path),
        version=version.number,
        leak_rule=leak_rule_result(rules),
        **result,
    )


def describe_export(run: str | Path, base: str | Path, options: ExportOptions) -> dict[str, Any]:
    """What `export_run` would write, with the same checks of the run; writes nothing.

    Returns:
      `path`, `version` and `signatures`.
    """
    base = Path(base)
    _require_no_version(base)
    scenario, model = _loaded(RunFolder(run), options)
    module = _module(model, scenario.serving)
    version = max(version_folders(base), default=0) + 1 if base.is_dir() else 1
    _require_still_forgotten(model, base)
    return {
        "path": str(base / str(version)),
        "version": version,
        "signatures": sorted(module.signatures()),
    }


def _require_no_version(base: Path) -> None:
    if base.exists():
        require_base_path(base, "--out ")


def _loaded(run: RunFolder, options: ExportOptions) -> tuple[Scenario, AnyModel]:
    """Scenario and model of an export that can be made."""
    scenario, model = run.load_model()
    asked = {f"serving.{name}": getattr(options, name) for name in IN_PLACE_OF_THE_RUNS}
    asked = {name: value for name, value in asked.items() if value is not None}
    require_effect(scenario, asked)
    scenario = override_scenario(scenario, asked)
    check_number_of_requests(scenario.serving, model.kind)
    _check_ids(model, scenario.serving.id_type)
    return scenario, model


def _module(model: AnyModel, serving: Serving) -> ServingModule:
    return serving_module(model, serving.augmented_dtype, serving.id_type, serving.largest_request)


def _check_ids(model: AnyModel, id_type: IdType) -> None:
    """Makes sure that requests can write all ids that the model knows."""
    if id_type == "string":
        return
    preparation = model.inputs_preparation
    require_whole_numbers(preparation.catalogue.item_ids, "item")
    if isinstance(preparation.user_rows, UserRows):
        require_whole_numbers(preparation.user_rows.known_users()[0], "user")


def _require_still_forgotten(model: AnyModel, base: Path) -> None:
    """A new version does not know again whom a refresh of an earlier one forgot."""
    preparation = model.inputs_preparation
    known = {"item": preparation.catalogue.item_ids}
    if isinstance(preparation.user_rows, UserRows):
        known["user"] = preparation.user_rows.known_users()[0]
    for number, folder in version_folders(base).items() if base.is_dir() else ():
        forgotten = Forgotten.of(RefreshFolder(folder).path)
        again = {entity: sum(forgotten.among(entity, ids)) for entity, ids in known.items()}
        if any(again.values()):
            told = " and ".join(f"{count:,} {entity}s" for entity, count in again.items() if count)
            raise CommandError(
                f"version {number} in {base} has forgotten {told} that this run knows. Take them "
                "out of its work directory with 'python -m preprocessing forget', prepare and "
                "train anew, or export it elsewhere"
            )


def _write_version(
    path: Path,
    run: RunFolder,
    scenario: Scenario,
    model: AnyModel,
    options: ExportOptions,
) -> _Written:
    """Writes everything that a version folder holds."""
    serving = scenario.serving
    asked = None
    if options.proof != "none":
        samples = draw_samples(scenario, model, options.proof_samples)
        asked = samples, expected_scores(model, samples)
    performance = None
    if options.card_part != "none":
        from serving.model_card.card import measure

        performance = measure(scenario, model, options.card_part, options.card_rows)
    kind = model.kind
    refresh_parts = RefreshParts.of(model, scenario, serving.id_type)
    forgotten = refresh_parts.forgotten.joined(forgotten_in(path.parent))
    module = _module(model, serving)
    signatures = module.signatures()
    tables = sum(int(tf.size(variable)) * variable.dtype.size for variable in module.variables)
    warn_of_little_space(path, tables, "the export")
    with written_by_tensorflow(path):
        tf.saved_model.save(module, str(path), signatures=signatures)
    replace(refresh_parts, forgotten=forgotten).write(path)
    _set_method_names(path, {*signatures} & {*_METHODS})
    warmed = {
        name: signatures[name].structured_input_signature[1] for name in module.warmed_signatures
    }
    write_warmup_requests(path, serving, warmed)
    proof = None
    if asked is not None:
        proof = prove(path, *asked, serving.augmented_dtype, options.proof)
        proof.require()
        say(proof.summary())
    if performance is not None:
        from serving.model_card.card import write_model_card

        write_model_card(path, run, scenario, performance, serving.augmented_dtype, proof)
    write_manifest(path, run, scenario, kind, serving.augmented_dtype, proof)
    return _Written(signatures=sorted(signatures), proof=None if proof is None else proof.to_json())


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
