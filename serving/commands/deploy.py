"""The command `python -m serving deploy`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import add_dry_run_option, add_json_option, keys_help, say
from configs.loading import load_section
from serving.deploy.rendering import kubectl, render
from serving.deploy.rollout import (
    left_behind,
    missing_version,
    next_steps,
    require_safe_labels,
    settings_in,
    write_files,
)
from serving.deploy.settings import Deployment

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Writes everything that runs an exported model on the official tensorflow/serving image, from one
YAML file of settings:

  server/        models.config (versions and labels), batching.config, monitoring.config
  compose.yaml   TensorFlow Serving, Prometheus and Grafana on one machine
  prometheus/    alerts, and what Prometheus reads; grafana/ has the dashboard
  kubernetes/    model loader, Deployments with probes, services, autoscaling, disruption budget,
                 volume; components/ for monitoring, network policy, gateway and small clusters
  kserve/        InferenceService
  settings.yaml  all settings, given and default; README.md says what to do with all of it

Equal settings give equal bytes. A folder rendered before is brought up to date; one that holds
other things is refused. So is a label's move that a running server would refuse.

examples:
  python -m serving deploy --config serving/deploy/example.yaml --out out/deploy
  python -m serving deploy --config out/deploy/settings.yaml --out out/deploy canary=2
  python -m serving deploy --config out/deploy/settings.yaml --out out/deploy \\
                           stable=2 also_loaded=[1]
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "deploy",
        help="settings to the files of a deployment",
        description=_HELP,
        epilog=keys_help([""], Deployment, "keys of the settings:"),
    )
    parser.add_argument(
        "--config", required=True, metavar="FILE.yaml", help="the settings of the deployment"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides of the settings, e.g. canary=4 resources.cpu=4",
    )
    add_dry_run_option(parser, "check the settings and say which files would change")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Renders the files and says what changed.

    Raises:
      ConfigurationError: the settings are wrong.
      CommandError: the folder holds other things, or a label would move too early.
    """
    deployment = load_section(Deployment, arguments.config, arguments.overrides)
    folder = Path(arguments.out)
    before = settings_in(folder)
    if before is not None:
        require_safe_labels(before, deployment)
    files = render(deployment)
    files_before = {} if before is None else render(before)
    written = write_files(folder, files, files_before, dry_run=arguments.dry_run)
    steps = next_steps(before, deployment)
    if before is not None and (abandoned := left_behind(files_before, files)):
        steps.append(
            "no longer applied, but `kubectl apply` takes nothing away: "
            f"{kubectl(before)} delete {' '.join(abandoned)}"
        )
    if missing := missing_version(folder, deployment):
        steps.append(
            f"compose.yaml will not find {missing}: put the version there, or name another folder "
            "by compose.model_folder or MODEL_FOLDER (Kubernetes and KServe do not need it)"
        )
    labels = ", ".join(f"{label} {version}" for label, version in deployment.labels.items())
    done = "to write" if arguments.dry_run else "written"
    say(
        f"{folder}: {deployment.model_name}, {labels}; {len(written.changed)} files {done}, "
        f"{len(written.unchanged)} unchanged, {len(written.removed)} removed"
    )
    for step in steps:
        say(f"note: {step}")
    return {
        "path": str(folder),
        "model": deployment.model_name,
        "labels": deployment.labels,
        "loaded_versions": list(deployment.loaded_versions),
        "changed": written.changed,
        "unchanged": written.unchanged,
        "removed": written.removed,
        "notes": steps,
        "dry_run": arguments.dry_run,
    }
