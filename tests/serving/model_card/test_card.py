from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.model_card.card import (
    CARD_JSON,
    CARD_MARKDOWN,
    Performance,
    measure,
    model_card,
    write_model_card,
)
from tests.runs import WrittenRun, written_run
from tests.serving.proof.made_up import proof


@pytest.fixture(scope="module")
def measured() -> tuple[WrittenRun, Performance]:
    run = written_run()
    return run, measure(run.scenario, run.model)


def test_the_card_holds_what_was_measured_and_proved(
    measured: tuple[WrittenRun, Performance],
) -> None:
    run, performance = measured
    card = model_card(run.folder, run.scenario, performance, "int8", proof())
    assert card == json.loads(json.dumps(card, allow_nan=False))
    assert card["model"]["run"] == run.folder.path.name
    assert card["model"]["trainable_weights"] == 30
    assert card["training"]["settings"]["learning_rate"] == 0.01
    assert (card["training"]["epochs"], card["training"]["best_epoch"]) == (1, 1)
    assert card["performance"]["metrics"]["auc"] == performance.metrics["auc"]
    assert card["performance"]["intervals"]["auc"]["low"] == performance.intervals["auc"].low
    assert card["proof"]["quality"]["cost"] == pytest.approx(0.0005)
    assert set(card["knowledge"]) == {"item", "user"}
    assert any("(user)" in text for text in card["privacy"])


def test_both_files_are_written_and_hold_no_answer_and_no_history(
    tmp_path: Path, measured: tuple[WrittenRun, Performance]
) -> None:
    run, performance = measured
    path = write_model_card(tmp_path, run.folder, run.scenario, performance, "float32", None)
    assert path == tmp_path / CARD_MARKDOWN
    text = path.read_text()
    assert json.loads((tmp_path / CARD_JSON).read_text())["proof"] is None
    for content in (text, (tmp_path / CARD_JSON).read_text()):
        assert "explosions" not in content
        assert "u17" not in content
