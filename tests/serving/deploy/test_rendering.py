from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.loading import load_section
from serving.deploy.rendering import SETTINGS_FILE, render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_equal_settings_give_equal_texts(deployment: Deployment) -> None:
    copy = Deployment.model_validate(deployment.model_dump(mode="json"))
    assert render(copy) == render(deployment)
    assert list(render(copy)) == sorted(render(deployment))


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_settings_are_rendered_completely(deployment: Deployment, tmp_path: Path) -> None:
    text = render(deployment)[SETTINGS_FILE]
    assert yaml.safe_load(text) == deployment.model_dump(mode="json")
    (tmp_path / SETTINGS_FILE).write_text(text, encoding="utf-8")
    assert load_section(Deployment, tmp_path / SETTINGS_FILE) == deployment


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_every_file_ends_with_one_line_end_and_has_no_stray_blanks(deployment: Deployment) -> None:
    for path, text in render(deployment).items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert not any(line != line.rstrip() for line in text.splitlines()), path


def test_the_committed_example_is_up_to_date(repository_root: Path) -> None:
    settings = repository_root / "serving/deploy/example.yaml"
    folder = repository_root / "serving/deploy/example"
    committed = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert committed == render(load_section(Deployment, settings)), (
        "render anew: python -m serving deploy --config serving/deploy/example.yaml "
        "--out serving/deploy/example"
    )
