from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import tensorflow as tf

from trainer.distribution.base import prepare_devices


class Gpus:
    """Stands for TensorFlow's view of a machine with GPUs."""

    def __init__(self, names: Sequence[str], in_use: bool = False):
        self._devices = {
            tf.config.PhysicalDevice(f"/physical_device:GPU:{index}", "GPU"): name
            for index, name in enumerate(names)
        }
        self._in_use = in_use
        self.growing: list[tf.config.PhysicalDevice] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(tf.config, "list_physical_devices", lambda kind: self.devices)
        patch.setattr(tf.config.experimental, "set_memory_growth", self._grow)
        patch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda device: {"device_name": self._devices[device]},
        )

    @property
    def devices(self) -> list[tf.config.PhysicalDevice]:
        return list(self._devices)

    def _grow(self, device: tf.config.PhysicalDevice, enable: bool) -> None:
        if self._in_use:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        assert enable
        self.growing.append(device)


def test_without_a_gpu_the_cpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    cores = len(os.sched_getaffinity(0))
    expected = f"computes on the CPU, {cores} cores; TensorFlow finds no GPU (docs/training.md)"
    assert prepare_devices() == expected


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["NVIDIA L4"], "computes on 1 GPU: 1 x NVIDIA L4"),
        (["A", "B", "A"], "computes on 3 GPUs: 2 x A, 1 x B"),
    ],
)
def test_memory_of_every_gpu_grows(
    names: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(names)
    gpus.install(monkeypatch)
    assert prepare_devices() == line
    assert gpus.growing == gpus.devices


def test_gpus_in_use_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(["NVIDIA L4"], in_use=True)
    gpus.install(monkeypatch)
    assert prepare_devices() == "computes on 1 GPU: 1 x NVIDIA L4"
    assert gpus.growing == []
