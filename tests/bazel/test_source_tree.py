from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from bazel.source_tree import SourceTreeError, paths_named_in, read_modules


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_imports_of_every_form_are_found(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "configs/__init__.py": "",
            "models/__init__.py": "",
            "models/hein.py": "import os\nimport tensorflow as tf\nimport numpy.linalg\n",
            "models/match.py": "from models.hein import Expert\n",
            "models/prior.py": "from . import hein\nfrom .match import means\n"
            "from .. import configs\n",
            "trainer/loop.py": "def run():\n    from models import prior, match\n",
            "trainer/other.py": "import models.hein\nimport trainer.loop as loop\n",
        },
    )
    modules = read_modules(root)
    assert {name: module.imports for name, module in modules.items()} == {
        "configs": set(),
        "models": set(),
        "models.hein": set(),
        "models.match": {"models.hein"},
        "models.prior": {"configs", "models.hein", "models.match"},
        "trainer.loop": {"models.prior", "models.match"},
        "trainer.other": {"models.hein", "trainer.loop"},
    }
    assert modules["models.hein"].third_party == {"tensorflow", "numpy"}


def test_a_name_taken_from_a_package_depends_on_its_init(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"models/__init__.py": "SIZE = 3\n", "trainer/loop.py": "from models import SIZE\n"},
    )
    assert read_modules(root)["trainer.loop"].imports == {"models"}


def test_imports_for_type_checkers_alone_are_left_out(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "models/a.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from models import b\n",
            "models/b.py": "from models import a\n",
        },
    )
    modules = read_modules(root)
    assert modules["models.a"].imports == set()
    assert modules["models.b"].imports == {"models.a"}


def test_a_program_run_in_a_subprocess_is_needed(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "trainer/__init__.py": "",
            "trainer/__main__.py": "",
            "tests/test_run.py": "import subprocess, sys\n"
            "subprocess.run([sys.executable, '-m', 'trainer', '--help'])\n"
            "subprocess.run([sys.executable, '-m', 'pip'])\n",
        },
    )
    assert read_modules(root)["tests.test_run"].imports == {"trainer.__main__"}


def test_a_program_given_as_text_is_read(tmp_path: Path) -> None:
    program = "PROGRAM = 'import json\\nfrom models import hein\\nimport trainer.absent.deep'\n"
    root = write(
        tmp_path,
        {
            "models/hein.py": "",
            "tests/test_light.py": program + "run([sys.executable, '-c', PROGRAM])\n",
            "tests/test_text.py": program + "'import words only, no program'\n",
        },
    )
    modules = read_modules(root)
    assert modules["tests.test_light"].imports == {"models.hein"}
    assert modules["tests.test_text"].imports == set()


def test_data_named_by_a_test_is_found(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "BUILD": "",
            "README.md": "",
            "configs/small.yaml": "",
            "serving/deploy/models.config": "",
            "tests/test_data.py": "a = root / 'configs' / 'small.yaml'\n"
            "b = root / 'serving/deploy'\nc = root / 'README.md'\n"
            "d = root / 'configs' / 'missing.yaml'\ne = 'configs'\nf = '/etc/hosts'\n"
            "g = root / 'BUILD'\n",
        },
    )
    assert read_modules(root)["tests.test_data"].data == {
        PurePosixPath("configs/small.yaml"),
        PurePosixPath("serving/deploy"),
        PurePosixPath("README.md"),
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import os\nimport models.absent.deep\n", r"trainer/loop.py:2: imports 'models.absent"),
        ("from serving import export\n", r"trainer/loop.py:1: imports 'serving.export'"),
        ("def broken(:\n", r"trainer/loop.py:1: "),
    ],
)
def test_a_wrong_source_is_named(tmp_path: Path, source: str, message: str) -> None:
    root = write(tmp_path, {"models/__init__.py": "", "trainer/loop.py": source})
    with pytest.raises(SourceTreeError, match=message):
        read_modules(root)


def test_paths_in_a_text(tmp_path: Path) -> None:
    root = write(tmp_path, {"examples/small/ratings.csv.gz": "", "configs/a.yaml": ""})
    text = "path: examples/small/ratings.csv.gz  # see configs/a.yaml and configs/b.yaml, 3/4"
    assert paths_named_in(text, root) == {
        PurePosixPath("examples/small/ratings.csv.gz"),
        PurePosixPath("configs/a.yaml"),
    }
