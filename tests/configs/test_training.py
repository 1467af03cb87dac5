from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.training import Training
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": "many"},
        {"batch_size": 0},
        {"optimizer": "ftrl"},
        {"optimizer": "same"},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"embedding_optimizer": "lazy"},
        {"embedding_learning_rate": -1.0},
        {"embedding_learning_rate": float("nan")},
        {"schedule": "linear"},
        {"warmup_steps": -1},
        {"weight_decay": -0.1},
        {"weight_decay": float("inf")},
        {"embedding_regularization": float("inf")},
        {"gradient_clip_norm": 0.0},
        {"gradient_clip_norm": float("nan")},
        {"class_weights": (1.0,)},
        {"class_weights": (1.0, 0.0)},
        {"class_weights": (float("inf"), 1.0)},
        {"list_loss": "pairwise"},
        {"selection": "logloss"},
        {"patience": 0},
        {"precision": "float16"},
        {"steps_per_execution": 0},
        {"input": "files"},
        {"shuffle_buffer": 0},
        {"checkpoint_steps": -1},
        {"distribution": "tpu"},
        {"devices": 0},
        {"sharding": "rows"},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    assert_refused(Training, values)


def test_defaults_are_plain_adam_in_float32_on_one_device() -> None:
    training = Training()
    assert (training.optimizer, training.embedding_optimizer) == ("adam", "same")
    assert (training.schedule, training.warmup_steps) == ("constant", 0)
    assert (training.weight_decay, training.gradient_clip_norm) == (0.0, None)
    assert training.class_weights == (1.0, 1.0)
    assert (training.precision, training.xla, training.distribution) == ("float32", False, "none")


def test_lazy_adam_is_for_embedding_tables() -> None:
    assert Training.model_validate({"embedding_optimizer": "lazy_adam"}).optimizer == "adam"
    with pytest.raises(ValidationError, match="set training.embedding_optimizer=lazy_adam"):
        Training.model_validate({"optimizer": "lazy_adam"})


@pytest.mark.parametrize("distribution", ["mirrored", "multi_worker", "parameter_server"])
def test_xla_is_for_one_device(distribution: str) -> None:
    with pytest.raises(ValidationError, match=f"set training.xla=false, .*of {distribution}"):
        Training.model_validate({"xla": True, "distribution": distribution})
    assert Training.model_validate({"xla": True}).xla


def test_parameter_servers_do_not_scale_losses() -> None:
    values = {"precision": "mixed_float16", "distribution": "parameter_server"}
    with pytest.raises(ValidationError, match="set training.precision=mixed_bfloat16"):
        Training.model_validate(values)
    for other in ({"precision": "mixed_bfloat16"}, {"distribution": "mirrored"}):
        assert Training.model_validate(values | other)


def test_parameter_servers_hand_out_single_steps() -> None:
    with pytest.raises(ValidationError, match=r"training\.steps_per_execution: .* set it to 1"):
        Training.model_validate({"distribution": "parameter_server", "steps_per_execution": 2})
