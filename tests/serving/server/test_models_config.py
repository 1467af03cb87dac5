from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from serving.protocol.messages import model_server_config_pb2
from serving.server.model_settings import ModelSettings, VersionPolicy
from serving.server.server_files import read_models_config, settings_of_message
from tests.serving.deploy.deployments import DEPLOYMENTS

CONFIG = """
# A comment.
model_config_list {
  config {
    name: "movies"
    base_path: "/exports/movies"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 2 versions: 5 } }
    version_labels { key: "stable" value: 2 }
    version_labels { key: "canary" value: 5 }
  }
  config { name: "books" base_path: "b" model_platform: "tensorflow"
           model_version_policy { latest { num_versions: 3 } } }
  config { name: "songs" base_path: "s" model_platform: "tensorflow"
           model_version_policy { all {} } }
  config { name: "plays" base_path: "p" model_type: TENSORFLOW }
}
"""


def test_a_models_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(CONFIG)
    movies, books, songs, plays = read_models_config(path)
    assert movies == ModelSettings(
        "movies",
        Path("/exports/movies"),
        VersionPolicy(specific=frozenset({2, 5})),
        {"stable": 2, "canary": 5},
    )
    assert books.policy == VersionPolicy(latest=3)
    assert songs.policy == VersionPolicy(latest=None)
    assert plays == ModelSettings("plays", Path("p"), VersionPolicy(latest=1), {})


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_file_of_a_deployment_is_read(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "models.config"
    path.write_text(render(deployment)["server/models.config"])
    (model,) = read_models_config(path)
    assert (model.name, model.base_path) == (deployment.model_name, Path(deployment.storage.path))
    assert model.policy.specific == set(deployment.loaded_versions)
    assert model.labels == deployment.labels


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list { config { nme: 'a' } }", "nme"),
        ("", "only a model_config_list"),
        ("model_config_list { config { base_path: 'a' } }", "no name"),
        ("model_config_list { config { name: 'a' } }", "model a has no base_path"),
        (
            "model_config_list { config { name: 'a' base_path: 'b' } }",
            'model_platform: "tensorflow"',
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b' model_platform: 'torch' } }",
            'Received: "torch"',
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b' model_platform: 'tensorflow' "
            "model_version_policy { specific {} } } }",
            "at least one version",
        ),
        (
            "model_config_list {"
            + 2 * "config { name: 'a' base_path: 'b' model_platform: 'tensorflow' }"
            + "}",
            "model a multiple times",
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b\\000c' "
            "model_platform: 'tensorflow' } }",
            r"model a: base_path is no path \(embedded null byte\): 'b\\x00c'",
        ),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '/{'c' * 300}' "
            "model_platform: 'tensorflow' } }",
            "model a: base_path is too long: '/ccc",
        ),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '{'/c' * 3000}' "
            "model_platform: 'tensorflow' } }",
            "model a: base_path is too long: '/c/c",
        ),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"models.config: .*{reason}"):
        read_models_config(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing.config: cannot be read"):
        read_models_config(tmp_path / "nothing.config")


def test_a_list_may_be_empty() -> None:
    """Which removes every model when it is reloaded."""
    config = model_server_config_pb2.ModelServerConfig(model_config_list={})
    assert settings_of_message(config) == []
