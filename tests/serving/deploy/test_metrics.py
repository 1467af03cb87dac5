from __future__ import annotations

import importlib.util
import mmap
import re
from pathlib import Path

import pytest

from tests.serving.deploy.metrics import METRICS


def test_names_are_those_of_the_exporter() -> None:
    """It writes ":" for "/", and TensorFlow's metrics begin with "/tensorflow/"."""
    for name in METRICS:
        assert re.fullmatch(r":tensorflow:(serving|core|cc)(:[a-z_]+)+", name), name


def test_labels_are_named_once() -> None:
    for name, metric in METRICS.items():
        assert len(set(metric.labels)) == len(metric.labels), name


@pytest.fixture(scope="module")
def tensorflow_library() -> bytes:
    """The library of the installed TensorFlow that declares its core metrics."""
    collected = importlib.util.find_spec("tensorflow")
    assert collected is not None and collected.origin is not None
    path = Path(collected.origin).with_name("libtensorflow_framework.so.2")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as library:
        declared = re.findall(rb"/tensorflow/(?:core|cc)/[a-z_/]+", library)
    return b"\n".join(declared)


@pytest.mark.parametrize("name", [name for name in METRICS if ":serving:" not in name])
def test_core_metrics_exist_in_tensorflow(name: str, tensorflow_library: bytes) -> None:
    assert name.replace(":", "/").encode() in tensorflow_library.splitlines()
