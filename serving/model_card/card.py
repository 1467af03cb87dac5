"""`assets.extra/model_card.md` and `.json`: what users of an export should know about it.

The headings follow Mitchell et al. 2019, "Model Cards for Model Reporting". Everything comes from
the run, its data and the proof; what these do not say is said to be not known.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.scenario import Scenario
from serving.json_numbers import finite
from serving.model_card.data import data_facts
from serving.model_card.knowledge import knowledge_facts
from serving.model_card.markdown import to_markdown
from serving.model_card.performance import Performance
from serving.model_card.texts import INTENDED_USE, WHAT_IT_IS, limits, privacy
from serving.proof.result import Proof
from trainer.run_folder import RunFolder

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
    card = model_card(run, scenario, performance, number_format, proof)
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
) -> dict[str, Any]:
    """The card as JSON values; None where something is not known.

    Args:
      run: the exported run.
      scenario: the run's.
      performance: what was measured (`serving.model_card.performance.measure`).
      number_format: of the stored vectors.
      proof: None where none was asked for.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file of the work directory is damaged.
      trainer.run_folder.RunFolderError: the run is incomplete.
    """
    kind, metrics = performance.kind, run.read_metrics()
    knowledge = knowledge_facts(scenario)
    card = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": scenario.serving.model_name,
            "what": WHAT_IT_IS[kind],
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
        "use": {"intended": INTENDED_USE[kind], "limits": limits(scenario, kind)},
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
        "privacy": privacy(scenario, kind, knowledge),
    }
    return finite(card)
