"""The stack of one machine as a Compose file, with what Prometheus and Grafana read in it."""

from __future__ import annotations

from serving.deploy.documents import yaml_text
from serving.deploy.model_server import CONFIG_FOLDER, PROGRAM, readiness_path, server_flags
from serving.deploy.quantities import mebibytes
from serving.deploy.settings import Deployment

_HEADER = """\
TensorFlow Serving, Prometheus and Grafana on one machine: MODEL_FOLDER=... docker compose up.

Every port is bound to this machine only, for nothing here asks who calls. The model's folder is the
one that `export --out` wrote, with the version folders 1, 2, ... in it."""

_DASHBOARDS = "/var/lib/grafana/dashboards"


def compose_yaml(deployment: Deployment) -> str:
    """The Compose file."""
    return yaml_text(
        _HEADER,
        {
            "name": deployment.object_name,
            "services": {
                "serving": _serving(deployment),
                "prometheus": _prometheus(deployment),
                "grafana": _grafana(deployment),
            },
            "volumes": {"prometheus-data": {}},
        },
    )


def prometheus_yml(deployment: Deployment) -> str:
    """What Prometheus scrapes in the Compose stack."""
    return yaml_text(
        "What Prometheus reads in the Compose stack. The server has nearly a thousand series, most "
        "of them about TensorFlow's inside; those of serving, loading and graph runs are kept.",
        {
            "global": {"scrape_interval": f"{deployment.monitoring.scrape_seconds}s"},
            "scrape_configs": [
                {
                    "job_name": "tensorflow-serving",
                    "metrics_path": deployment.monitoring.path,
                    "static_configs": [{"targets": [f"serving:{deployment.server.rest_port}"]}],
                    "metric_relabel_configs": [
                        {
                            "source_labels": ["__name__"],
                            "regex": ":tensorflow:(serving|cc:saved_model|core:graph_run).*",
                            "action": "keep",
                        }
                    ],
                }
            ],
        },
    )


def grafana_provisioning() -> dict[str, str]:
    """Files of Grafana's provisioning folder, by path."""
    return {
        "datasources/prometheus.yaml": yaml_text(
            "The data source that the dashboard takes first.",
            {
                "apiVersion": 1,
                "datasources": [
                    {
                        "name": "Prometheus",
                        "type": "prometheus",
                        "access": "proxy",
                        "url": "http://prometheus:9090",
                        "isDefault": True,
                    }
                ],
            },
        ),
        "dashboards/dashboards.yaml": yaml_text(
            "Where the dashboard lies.",
            {
                "apiVersion": 1,
                "providers": [
                    {"name": "serving", "type": "file", "options": {"path": _DASHBOARDS}}
                ],
            },
        ),
    }


def _serving(deployment: Deployment) -> dict[str, object]:
    server, storage = deployment.server, deployment.storage
    volumes = [_mount("./server", CONFIG_FOLDER)]
    if storage.is_mounted:
        source = f"${{MODEL_FOLDER:-{deployment.compose.model_folder}}}"
        volumes.append(_mount(source, storage.path))
    return {
        "image": deployment.full_image,
        "entrypoint": [PROGRAM],
        "command": server_flags(deployment),
        "init": True,
        "user": "1000:1000",
        "ports": [_local(server.grpc_port), _local(server.rest_port)],
        "volumes": volumes,
        "healthcheck": {
            # Compose reads $ as the name of a variable, and $$ as $.
            "test": ["CMD", "bash", "-c", health_check(deployment).replace("$", "$$")],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{deployment.kubernetes.startup_seconds}s",
        },
        "deploy": {"resources": {"limits": _limits(deployment)}},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }


def health_check(deployment: Deployment) -> str:
    """A Bash command that succeeds when the stable version serves; the image has no curl."""
    request = rf"GET {readiness_path(deployment)} HTTP/1.0\r\n\r\n"
    return (
        f"exec 3<>/dev/tcp/127.0.0.1/{deployment.server.rest_port} && printf '{request}' >&3 "
        '&& read -r _ status _ <&3 && [ "$status" = 200 ]'
    )


def _limits(deployment: Deployment) -> dict[str, str]:
    resources = deployment.resources
    limits = {"memory": f"{mebibytes(resources.memory)}m"}
    if resources.cpu_limit is not None:
        limits["cpus"] = f"{resources.cpu_limit:g}"
    return limits


def _prometheus(deployment: Deployment) -> dict[str, object]:
    return {
        "image": deployment.compose.prometheus_image,
        "ports": [_local(deployment.compose.prometheus_port, 9090)],
        "volumes": [
            _mount("./prometheus.yml", "/etc/prometheus/prometheus.yml"),
            {"type": "volume", "source": "prometheus-data", "target": "/prometheus"},
        ],
        "restart": "unless-stopped",
    }


def _grafana(deployment: Deployment) -> dict[str, object]:
    return {
        "image": deployment.compose.grafana_image,
        "ports": [_local(deployment.compose.grafana_port, 3000)],
        "environment": {
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_BASIC_ENABLED": "false",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{_DASHBOARDS}/dashboard.json",
        },
        "volumes": [
            _mount("./grafana/provisioning", "/etc/grafana/provisioning"),
            _mount("./grafana/dashboard.json", f"{_DASHBOARDS}/dashboard.json"),
        ],
        "depends_on": ["prometheus"],
        "restart": "unless-stopped",
    }


def _local(port: int, in_container: int | None = None) -> str:
    return f"127.0.0.1:{port}:{in_container or port}"


def _mount(source: str, target: str) -> dict[str, object]:
    return {"type": "bind", "source": source, "target": target, "read_only": True}
