"""The machine's language, encoding, time zone and clock decide no byte of what steps leave."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.killing import checksums
from tests.small_pipeline import SMALL_STEPS, write_small_scenario

LOCALES = {"tr_TR": "UTF-8", "de_DE": "UTF-8", "ja_JP": "EUC-JP", "de_DE@euro": "ISO-8859-15"}
"""Turkish has its own i, German a comma in numbers, the others no UTF-8."""
FOREIGN = "Größe der Straße: 暗い映画 İstanbul’da ılık"
YEAR_2100 = 4_102_444_800
ALL_STEPS = """
import json, sys
import preprocessing.__main__
for words in json.loads(sys.argv[1]):
    if code := preprocessing.__main__.main(words):
        sys.exit(code)
"""
GOING_BACK = """
import itertools, time
seconds = itertools.count(946684800, -3600)  # from the year 2000, an hour at each look
time.time = lambda: float(next(seconds))
time.time_ns = lambda: next(seconds) * 10**9
"""


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def results_of_all_steps(
    folder: Path, repository_root: Path, environment: dict[str, str], first: str = ""
) -> dict[str, str]:
    """Checksums of what all steps leave in a process of its own, but reports that tell the time."""
    folder.mkdir()
    write_small_scenario(folder)
    about = {"source": "item", "entity_id": "2", "extraction": "individual", "answer": FOREIGN}
    append(folder / "prose.jsonl", json.dumps(about, ensure_ascii=False))
    append(folder / "catalogue.csv", f"41,{FOREIGN},Drama,1999")
    done = subprocess.run(
        [sys.executable, "-c", first + ALL_STEPS, json.dumps([*SMALL_STEPS.values()])],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(repository_root)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return {
        name: digest
        for name, digest in checksums(folder).items()
        if not name.startswith("work/forget_r")
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("usual") / "run"
    return results_of_all_steps(folder, repository_root, clean_environment())


def clean_environment() -> dict[str, str]:
    unset = ("LANG", "LANGUAGE", "TZ", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONIOENCODING")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in unset and not name.startswith("LC_")
    } | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


@pytest.mark.slow
def test_without_utf_8(expected: dict[str, str], tmp_path: Path, repository_root: Path) -> None:
    ascii_only = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = clean_environment() | ascii_only | {"TZ": "Asia/Kathmandu"}
    asked = [sys.executable, "-c", "import sys, locale; print(locale.getpreferredencoding(False))"]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "ANSI_X3.4-1968"
    assert results_of_all_steps(tmp_path / "run", repository_root, environment) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCALES)
def test_other_languages(
    name: str, expected: dict[str, str], tmp_path: Path, repository_root: Path
) -> None:
    if shutil.which("localedef") is None:
        pytest.skip("localedef, which makes locales, is not installed")
    charset = LOCALES[name]
    made = subprocess.run(
        ["localedef", "--no-archive", "-i", name, "-f", charset, str(tmp_path / name)],
        capture_output=True,
        check=False,
    )
    if not (tmp_path / name).is_dir():
        pytest.skip(f"no locale {name} can be made here: {made.stderr.decode(errors='replace')}")
    environment = clean_environment() | {"LOCPATH": str(tmp_path), "LC_ALL": name}
    environment |= {"PYTHONUTF8": "0"}
    asked = [sys.executable, "-c", "import locale; print(locale.setlocale(locale.LC_ALL, ''))"]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == name
    assert results_of_all_steps(tmp_path / "run", repository_root, environment) == expected


@pytest.mark.slow
def test_a_clock_that_goes_back(
    expected: dict[str, str], tmp_path: Path, repository_root: Path
) -> None:
    environment = clean_environment()
    actual = results_of_all_steps(tmp_path / "run", repository_root, environment, GOING_BACK)
    assert actual == expected


@pytest.mark.slow
def test_times_of_files_do_not_say_whether_they_have_changed(
    tmp_path: Path, repository_root: Path
) -> None:
    write_small_scenario(tmp_path)
    environment = clean_environment() | {"PYTHONPATH": str(repository_root)}

    def is_skipped() -> bool:
        command = [sys.executable, "-m", "preprocessing", "examples", "--config", "scenario.yaml"]
        done = subprocess.run(
            [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return b'"skipped": true' in done.stdout

    assert not is_skipped()
    for path in tmp_path.rglob("*"):
        os.utime(path, (YEAR_2100, YEAR_2100))
    assert is_skipped()
    log = tmp_path / "interactions.csv"
    before = log.stat()
    lines = log.read_text().splitlines(keepends=True)
    first, second = next(
        (one, other)
        for one, other in itertools.pairwise(range(1, len(lines)))
        if lines[one] != lines[other]
    )
    lines[first], lines[second] = lines[second], lines[first]
    log.write_text("".join(lines))
    os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert log.stat().st_size == before.st_size
    assert not is_skipped()
