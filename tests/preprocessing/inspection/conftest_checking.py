from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.preprocessing.work_folder import MORE_VECTORS, write_examples, write_knowledge_step


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory without faults; not to be changed."""
    work = write_examples(tmp_path_factory.mktemp("checking"))
    write_knowledge_step(work, MORE_VECTORS)
    return work


@pytest.fixture
def work(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(pristine, tmp_path / "work")
