"""Access to models while they are trained."""

from __future__ import annotations

import pytest
import tensorflow as tf

from trainer import training


def remember_models(monkeypatch: pytest.MonkeyPatch) -> list[tf.keras.Model]:
    """Models in training, in the order in which their weights were created."""
    models = []
    create = training.create_weights

    def create_and_remember(model: tf.keras.Model) -> None:
        create(model)
        models.append(model)

    monkeypatch.setattr(training, "create_weights", create_and_remember)
    return models
