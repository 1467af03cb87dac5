from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from preprocessing.__main__ import main
from preprocessing.records.layout import WorkDirectory


@pytest.fixture
def config(small_tree, small_folder) -> str:
    path = small_folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(small_tree))
    return str(path)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_all_runs_everything_and_strict_reports_rejected_records(capsys, config, small_tree):
    code, out, err = run(capsys, "all", "--config", config, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["step"] == "all" and not result["skipped"]
    assert [step["step"] for step in result["steps"]] == ["examples", "encode"]
    for step in [result, *result["steps"]]:
        accounted = step["records_out"] + step["dead_letters"]
        assert step["records_in"] == accounted
    assert "examples: 18 interactions" in err and "encode item: 5 answers" in err
    for name in ("ann", "bob", "eve"):
        assert name not in err
    work = WorkDirectory(small_tree["work_dir"])
    assert work.examples.manifest.exists() and work.knowledge("item").manifest.exists()

    code, out, err = run(capsys, "all", "--config", config, "--json", "--strict")
    assert code == 3
    assert json.loads(out) == {
        **result,
        "seconds": json.loads(out)["seconds"],
        "skipped": True,
        "steps": json.loads(out)["steps"],
    }
    assert "skipped" in err and "dead_letters.jsonl" in err


def test_people_get_nothing_on_stdout(capsys, config):
    code, out, err = run(capsys, "examples", "--config", config, "split.by=user")
    assert (code, out) == (0, "") and "samples" in err


def test_dry_run_says_what_would_be_done(capsys, config, small_folder):
    code, out, err = run(capsys, "all", "--config", config, "--dry-run", "--json")
    assert code == 0 and not (small_folder / "work").exists()
    assert json.loads(out)["steps"][0]["would_skip"] is False
    assert "examples: would run" in err and "encode item: would run" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "data.colour=red"], "unknown key 'data.colour'"),
        (["encode", "--source", "film"], "no source 'film'"),
        (["examples", "--beam-option", "workers"], "write it as KEY=VALUE"),
        (["examples", "--runner", "NoSuchRunner"], "NoSuchRunner"),
        (["examples", "data.interactions.columns.user=who"], "no column 'who'"),
    ],
)
def test_wrong_configuration_exits_with_2(capsys, config, arguments, message):
    code, out, err = run(capsys, arguments[0], "--config", config, *arguments[1:])
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err


def test_wrong_usage_exits_with_2(capsys):
    for arguments in (["encode"], ["import"], []):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2
        assert "--help" in capsys.readouterr().err


def test_a_cut_off_file_exits_with_1(capsys, config, small_folder):
    cut = small_folder / "ratings.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00\x00")
    code, out, err = run(capsys, "examples", "--config", config, f"data.interactions.path={cut}")
    assert (code, out) == (1, "")
    assert "ratings.csv.gz: the file is cut off" in err and "Traceback" not in err


def test_help_teaches_without_heavy_imports(repository_root):
    program = (
        "import sys\nfrom preprocessing.__main__ import main\n"
        "try:\n    main(['encode', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'apache_beam', 'tensorflow', 'sklearn', 'onnxruntime'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository_root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--source NAME" in finished.stdout and "knowledge.encoder.kind" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "[]"


def test_the_program_runs_quietly(repository_root, config):
    finished = subprocess.run(
        [sys.executable, "-m", "preprocessing", "all", "--config", config, "--json"],
        cwd=repository_root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(finished.stdout)["records_in"] == 23
    steps = dict.fromkeys(line.split(":")[0] for line in finished.stderr.splitlines())
    assert list(steps) == ["examples", "encode item"]
