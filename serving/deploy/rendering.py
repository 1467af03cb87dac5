"""All files of a deployment, from its settings."""

from __future__ import annotations

from serving.deploy.compose import compose_yaml, grafana_provisioning, prometheus_yml
from serving.deploy.dashboard import dashboard_json
from serving.deploy.documents import yaml_text
from serving.deploy.instructions import instructions
from serving.deploy.kserve import inference_service_yaml
from serving.deploy.kubernetes import kubernetes_files
from serving.deploy.model_server import config_files
from serving.deploy.settings import Deployment

SETTINGS_FILE = "settings.yaml"
"""Name of the file that holds all settings, given and default, beside what is rendered of them."""


def render(deployment: Deployment) -> dict[str, str]:
    """The files of a deployment.

    Args:
      deployment: the settings.

    Returns:
      Path relative to the folder -> text. Equal settings give equal texts.
    """
    files = {
        "README.md": instructions(deployment),
        SETTINGS_FILE: yaml_text(
            "All settings, given and default. Change them by rendering anew: python -m serving "
            "deploy --config DIR/settings.yaml --out DIR key=value",
            deployment.model_dump(mode="json"),
        ),
        "compose.yaml": compose_yaml(deployment),
        "prometheus.yml": prometheus_yml(deployment),
        "grafana/dashboard.json": dashboard_json(deployment),
        "kserve/inferenceservice.yaml": inference_service_yaml(deployment),
    }
    parts = {
        "server": config_files(deployment),
        "grafana/provisioning": grafana_provisioning(),
        "kubernetes": kubernetes_files(deployment),
    }
    for folder, texts in parts.items():
        files |= {f"{folder}/{name}": text for name, text in texts.items()}
    return dict(sorted(files.items()))
