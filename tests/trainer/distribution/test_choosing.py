from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.loading import ConfigurationError
from configs.training import Training
from tests.scenarios import tiny_scenario
from tests.trainer.distribution.processes import EXACT, Processes, finished, history_of
from trainer import distribution
from trainer.distribution import Distribution, distribution_of
from trainer.training import train
from trainer.training_input import Worker


def test_one_device_needs_no_strategy() -> None:
    alone = distribution_of(Training())
    assert alone == Distribution()
    assert alone.is_chief and alone.worker.replicas == 1


@pytest.mark.slow
def test_mirrored_devices_train_as_one_does(tmp_path: Path, repository_root: Path) -> None:
    changes = {key.replace(".", "__"): value for key, value in EXACT.items()}
    train(tiny_scenario(run_dir=str(tmp_path / "one"), **changes), progress=False)
    with Processes(repository_root, tmp_path) as processes:
        mirrored = {"training.distribution": "mirrored", "training.devices": 2}
        too_few = processes.start(tmp_path / "few", {**mirrored, "training.batch_size": 1})
        finished({"alone": processes.start(tmp_path / "two", {**EXACT, **mirrored})})
        code, message = too_few.wait()
    assert code == 2 and "training.batch_size: 1 samples cannot be dealt to 2 devices" in message
    one, two = history_of(tmp_path / "one"), history_of(tmp_path / "two")
    assert len(one) == len(two) == 2
    for expected, actual in zip(one, two, strict=True):
        assert actual == pytest.approx(expected, abs=1e-5)
    # The comparison would also hold if nothing were learned.
    assert one[1]["train_loss"] < one[0]["train_loss"] < np.log(2)


def test_a_batch_needs_a_sample_for_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = Distribution(None, Worker(replicas=3))
    monkeypatch.setattr(distribution, "_connected", lambda training: connected)
    assert distribution_of(Training(batch_size=3)) is connected
    message = "training.batch_size: 2 samples cannot be dealt to 3 devices; set it"
    with pytest.raises(ConfigurationError, match=message):
        distribution_of(Training(batch_size=2))
