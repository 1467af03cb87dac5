from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from configs.command_line import TeachingParser, run_command
from configs.loading import described_keys
from serving.__main__ import main
from serving.commands.versions import add_refresh
from serving.deploy.settings import Deployment
from serving.export_manifest import verify_manifest
from tests.killing import checksums
from tests.runs import written_run


def test_json_names_the_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, base = str(written_run("din", "none").folder.path), tmp_path / "base"
    capsys.readouterr()
    options = ["--proof", "quick", "--proof-samples", "20", "--json"]
    assert main(["export", "--run", run, "--out", str(base), *options]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "path": str(base / "1"),
        "version": 1,
        "signatures": ["classify", "predict_examples", "rank", "regress", "serving_default"],
        "leak_rule": {},
    }
    assert "unverified" not in captured.err
    assert captured.out.count("\n") == 1
    assert "version 1" in captured.err
    assert tf.saved_model.contains_saved_model(str(base / "1"))


def test_a_version_is_proved_and_described_and_people_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(written_run("din", "hein").folder.path)
    capsys.readouterr()
    options = ["--augmented-dtype", "float16", "--proof", "quick", "--proof-samples", "20"]
    assert main(["export", run, "--out", str(tmp_path), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and str(tmp_path / "1") in captured.err
    assert f"{tmp_path / '1'}: unverified sources: item: nothing shows" in captured.err
    reader = tf.train.load_checkpoint(str(tmp_path / "1" / "variables" / "variables"))
    augmented = {
        dtype for name, dtype in reader.get_variable_to_dtype_map().items() if "adapter" in name
    }
    assert augmented == {tf.float16}
    proof = verify_manifest(tmp_path / "1")["proof"]
    assert proof["failures"] == [] and proof["examples"] == 20
    extra = {path.name for path in (tmp_path / "1" / "assets.extra").iterdir()}
    assert {"manifest.json", "model_card.md", "tf_serving_warmup_requests"} <= extra


def test_a_folder_without_a_run_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(tmp_path / "absent"), "--out", str(tmp_path / "base"), "--json"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no file or folder '" in captured.err and "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []
    assert main(["export", str(tmp_path), *arguments[2:]]) == 1
    assert f"{tmp_path} holds no finished run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "run"],
        ["export", "--out", "b"],
        ["export", "run", "--run", "run", "--out", "b"],
        ["export", "run", "--out", "b", "--augmented-dtype", "int3"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Try 'python -m serving export --help'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--augmented-dtype", "int8"],
            "augmented_dtype has no effect with model.adapter=",
        ),
        (["--proof", "none", "--proof-samples", "3"], "proof-samples has no effect with proof="),
    ],
)
def test_an_option_without_effect_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(written_run("din", "none").folder.path)
    assert main(["export", run, "--out", str(tmp_path / "base"), *options]) == 2
    assert f"{message}none; leave it out, or take " in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


def test_a_dry_run_loads_the_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(written_run("din", "none").folder.path)
    (tmp_path / "base" / "4").mkdir(parents=True)
    capsys.readouterr()
    words = ["--out", str(tmp_path / "base"), "--json", "--dry-run"]
    assert main(["export", run, *words]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "dry_run": True,
        "path": str(tmp_path / "base" / "5"),
        "version": 5,
        "signatures": ["classify", "predict_examples", "rank", "regress", "serving_default"],
    }
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["4"]
    assert main(["export", str(tmp_path), *words]) == 1


def parse(*words: str) -> argparse.Namespace:
    parser = TeachingParser(prog="serving")
    add_refresh(parser.add_subparsers(required=True))
    return parser.parse_args(["refresh", *words])


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for taught in ("python -m serving refresh --model out/export", "--dry-run", "openai-batch"):
        assert taught in said


def test_wrong_wishes_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parse("--model", str(tmp_path), "--json")
    assert run_command(arguments.run, arguments) == 2
    assert "--answers: name files of new answers" in capsys.readouterr().err
    arguments = parse("--model", str(tmp_path), "--answers", "new.jsonl")
    assert run_command(arguments.run, arguments) == 2
    assert f"--model {tmp_path}: there is no version folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        parse("--model", "x", "--answers", "y", "--version", "0")
    assert ended.value.code == 2


Deploy = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def deploy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Deploy:
    """Renders into a folder "out", or another one: exit code, result and what people are told."""
    settings = tmp_path / "deployment.yaml"
    settings.write_text("model_name: movies\nstable: 3\n", encoding="utf-8")
    (tmp_path / "export" / "3").mkdir(parents=True)

    def run(*words: str, out: str = "out") -> tuple[int, dict[str, Any], str]:
        folders = ["--config", str(settings), "--out", str(tmp_path / out)]
        code = main(["deploy", *folders, "--json", *words])
        captured = capsys.readouterr()
        return code, json.loads(captured.out or "{}"), captured.err

    return run


def test_the_result(deploy: Deploy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, result, told = deploy("canary=4")
    assert code == 0
    assert result["path"] == str(out)
    assert result["model"] == "movies"
    assert result["labels"] == {"stable": 3, "canary": 4}
    assert result["loaded_versions"] == [3, 4]
    assert result["unchanged"] == result["removed"] == result["notes"] == []
    assert sorted(result["changed"]) == sorted(checksums(out))
    assert "stable 3, canary 4" in told


def test_again_changes_nothing(deploy: Deploy, tmp_path: Path) -> None:
    assert deploy()[0] == 0
    first = checksums(tmp_path / "out")
    code, result, _ = deploy()
    assert (code, result["changed"], len(result["unchanged"])) == (0, [], len(first))
    assert checksums(tmp_path / "out") == first


def test_a_change_of_settings_removes_what_is_not_rendered_any_more(deploy: Deploy) -> None:
    assert deploy()[0] == 0
    code, result, _ = deploy("autoscaling.enabled=false")
    assert (code, result["removed"]) == (0, ["kubernetes/horizontalpodautoscaler.yaml"])
    assert "kubernetes/deployment.yaml" in result["changed"]
    assert "server/models.config" in result["unchanged"]


def test_what_runs_on_in_the_cluster_is_told(deploy: Deploy) -> None:
    code, result, _ = deploy("canary_track.version=4")
    assert code == 0 and "kubernetes/canary-deployment.yaml" in result["changed"]
    code, result, _ = deploy("kubernetes.namespace=ranking")
    names = ("configmap", "deployment")
    assert code == 0
    assert result["removed"] == [f"kubernetes/canary-{name}.yaml" for name in names]
    # All of it was in the namespace of kubectl.
    (note,) = result["notes"]
    assert "; " not in note and note.partition(" delete ")[0].endswith("nothing away: kubectl")
    assert note.partition(" delete ")[2].split() == [
        "configmap/movies-serving",
        "deployment/movies-serving",
        "configmap/movies-serving-canary",
        "deployment/movies-serving-canary",
        "service/movies-serving",
        "service/movies-serving-headless",
        "poddisruptionbudget/movies-serving",
        "horizontalpodautoscaler/movies-serving",
    ]
    code, result, _ = deploy("kubernetes.namespace=other")
    (note,) = result["notes"]
    assert code == 0 and "kubectl --namespace ranking delete configmap/movies-serving " in note


def test_a_label_does_not_move_too_early(deploy: Deploy, tmp_path: Path) -> None:
    assert deploy()[0] == 0
    before = checksums(tmp_path)
    code, _, told = deploy("stable=4")
    assert code == 1 and "label 'stable' cannot move from version 3 to 4 yet" in told
    assert checksums(tmp_path) == before


def test_a_folder_of_others_is_left_alone(deploy: Deploy, tmp_path: Path) -> None:
    before = checksums(tmp_path)
    code, _, told = deploy(out=".")
    assert code == 1 and "holds other things" in told
    assert checksums(tmp_path) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("server.grpc_prot=1", "unknown key 'server.grpc_prot'. Did you mean 'server.grpc_port'?"),
        ("tag=latest", "tag: name a release"),
        ("storage.path=s3://b/m", "storage.path: the official image cannot read s3://"),
    ],
)
def test_wrong_settings_are_exit_code_2(
    override: str, message: str, deploy: Deploy, tmp_path: Path
) -> None:
    code, _, told = deploy(override)
    assert code == 2 and message in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("page", ["help", "docs/deployment.md"])
def test_examples_can_be_run(
    page: str,
    repository_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if page == "help":
        with pytest.raises(SystemExit):
            main(["deploy", "--help"])
        text = capsys.readouterr().out
    else:
        text = (repository_root / page).read_text(encoding="utf-8")
    text = text.replace("\\\n", " ").replace(
        "serving/deploy/", f"{repository_root}/serving/deploy/"
    )
    commands = re.findall(r"^ +python -m serving (deploy --config .+)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(shlex.split(command, comments=True)) == 0, command
    assert len(commands) >= 3
    assert (tmp_path / "out/deploy/settings.yaml").is_file()


def test_help_explains_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["deploy", "--help"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for key in described_keys(Deployment):
        assert any(line.startswith(f"  {key}  (") for line in lines), key
    assert max(map(len, lines)) <= 100


def test_a_dry_run_says_what_would_change(deploy: Deploy, tmp_path: Path) -> None:
    code, would, _ = deploy("--dry-run")
    assert code == 0 and would["dry_run"] and not (tmp_path / "out").exists()
    code, done, _ = deploy()
    assert code == 0 and done == would | {"dry_run": False}
    first = checksums(tmp_path / "out")
    code, would, _ = deploy("--dry-run", "canary=4")
    assert code == 0 and would["changed"] and checksums(tmp_path / "out") == first
