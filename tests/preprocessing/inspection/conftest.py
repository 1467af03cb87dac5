from __future__ import annotations

from pathlib import Path

import pytest

from tests.preprocessing.work_folder import write_examples, write_knowledge_step


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory; not to be changed."""
    folder = write_examples(tmp_path_factory.mktemp("inspection"))
    write_knowledge_step(folder)
    return folder
