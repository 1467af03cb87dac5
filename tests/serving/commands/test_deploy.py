from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from configs.loading import described_keys
from serving.__main__ import main
from serving.deploy.settings import Deployment


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text("model_name: movies\nstable: 3\n", encoding="utf-8")
    (tmp_path / "export" / "3").mkdir(parents=True)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_result(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["deploy", "--config", str(settings), "--out", str(out), "canary=4", "--json"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["path"] == str(out)
    assert result["model"] == "movies"
    assert result["labels"] == {"stable": 3, "canary": 4}
    assert result["loaded_versions"] == [3, 4]
    assert result["unchanged"] == result["removed"] == result["notes"] == []
    assert sorted(result["changed"]) == sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    )
    assert "stable 3, canary 4" in captured.err


def test_again_changes_nothing(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["deploy", "--config", str(settings), "--out", str(out), "--json"]
    assert main(arguments) == 0
    first = contents(out)
    capsys.readouterr()
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["changed"] == []
    assert len(result["unchanged"]) == len(first)
    assert contents(out) == first


def test_a_change_of_settings_removes_what_is_not_rendered_any_more(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["deploy", "--config", str(settings), "--out", str(out), "--json"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main([*arguments, "autoscaling.enabled=false"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["removed"] == ["kubernetes/horizontalpodautoscaler.yaml"]
    assert "kubernetes/deployment.yaml" in result["changed"]
    assert "server/models.config" in result["unchanged"]


def test_what_runs_on_in_the_cluster_is_told(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["deploy", "--config", str(settings), "--out", str(out), "--json"]
    assert main([*arguments, "canary_track.version=4"]) == 0
    assert "kubernetes/canary-deployment.yaml" in json.loads(capsys.readouterr().out)["changed"]
    assert main([*arguments, "kubernetes.namespace=ranking"]) == 0
    result = json.loads(capsys.readouterr().out)
    names = ("configmap", "deployment")
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
    assert main([*arguments, "kubernetes.namespace=other"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert "kubectl --namespace ranking delete configmap/movies-serving " in note


def test_a_label_does_not_move_too_early(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["deploy", "--config", str(settings), "--out", str(out)]
    assert main(arguments) == 0
    before = contents(out)
    assert main([*arguments, "stable=4"]) == 1
    assert "label 'stable' cannot move from version 3 to 4 yet" in capsys.readouterr().err
    assert contents(out) == before


def test_a_folder_of_others_is_left_alone(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "--config", str(settings), "--out", str(tmp_path)]) == 1
    assert "holds other things" in capsys.readouterr().err
    assert contents(tmp_path) == {str(settings): settings.read_bytes()}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("server.grpc_prot=1", "unknown key 'server.grpc_prot'. Did you mean 'server.grpc_port'?"),
        ("tag=latest", "tag: name a release"),
        ("storage.path=s3://b/m", "storage.path: the official image cannot read s3://"),
    ],
)
def test_wrong_settings_are_exit_code_2(
    override: str,
    message: str,
    settings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["deploy", "--config", str(settings), "--out", str(out), override]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


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


def test_a_dry_run_says_what_would_change(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["deploy", "--config", str(settings), "--out", str(out), "--json"]
    assert main([*words, "--dry-run"]) == 0
    would = json.loads(capsys.readouterr().out)
    assert would["dry_run"] and not out.exists()
    assert main(words) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == would | {"dry_run": False}
    first = contents(out)
    assert main([*words, "--dry-run", "canary=4"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] and contents(out) == first
