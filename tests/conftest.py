from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Both are read once, when TensorFlow is first imported, so they are set before any test module is.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same few examples on every machine, none remembered from run to run, no deadline of any kind.
settings.register_profile(
    "suite", derandomize=True, max_examples=40, deadline=None, database=None, print_blob=False
)
settings.load_profile("suite")

# Not resolved: under Bazel this file is a link, and the tests must see the linked tree only.
_ROOT = Path(__file__).absolute().parent.parent


@pytest.fixture(scope="session")
def repository_root() -> Path:
    return _ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with data sets too large to commit; tests that need it are skipped without it."""
    folder = Path(os.environ.get("REKI_SHARED_DATA") or _ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; name their folder in REKI_SHARED_DATA")
    return folder
