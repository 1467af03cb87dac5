from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.preprocessing.work_folder import MORE_VECTORS, write_examples, write_knowledge_step


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory; not to be changed."""
    folder = write_examples(tmp_path_factory.mktemp("inspection"))
    write_knowledge_step(folder)
    return folder


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory without faults; not to be changed."""
    folder = write_examples(tmp_path_factory.mktemp("checking"))
    write_knowledge_step(folder, MORE_VECTORS)
    return folder


@pytest.fixture
def damaged(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged by the test."""
    return shutil.copytree(pristine, tmp_path / "work")
