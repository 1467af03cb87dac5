"""From one deployment to the next: which moves of labels a running server takes."""

from __future__ import annotations

from configs.command_line import CommandError
from serving.deploy.settings import Deployment


def require_safe_labels(before: Deployment, after: Deployment) -> None:
    """Refuses a label's move that TensorFlow Serving would refuse.

    A label in use may only move to a version that serves already. A models.config that breaks this
    is refused as a whole, so that the version it names is never loaded either. A label that nobody
    uses yet may name a version that loads with the same file.

    Args:
      before: what is rendered now, and presumably served.
      after: what shall be rendered.

    Raises:
      CommandError: a label in use would move to a version that is not loaded; the message says
        which steps lead there.
    """
    if before.model_name != after.model_name:
        return
    for label, version in after.labels.items():
        now = before.labels.get(label, version)
        if version != now and version not in before.loaded_versions:
            loading = sorted({*after.also_loaded, version})
            raise CommandError(
                f"label '{label}' cannot move from version {now} to {version} yet: the files in "
                f"this folder do not load version {version}, and the server refuses a label in use "
                f"for a version that does not serve. First load it ({label}={now} "
                f"also_loaded={loading}), wait until its status is AVAILABLE, and move the label "
                "then"
            )


def next_steps(before: Deployment | None, after: Deployment) -> list[str]:
    """What to do or to know after rendering, for people.

    Args:
      before: what was rendered in the folder, or None.
      after: what is rendered now.
    """
    steps = []
    loaded = () if before is None else before.loaded_versions
    arriving = [version for version in after.loaded_versions if version not in loaded]
    leaving = [version for version in loaded if version not in after.loaded_versions]
    if arriving and before is not None:
        steps.append(
            f"wait until version {_listed(arriving)} is AVAILABLE before a label that is in use "
            f"moves there: GET /v1/models/{after.model_name}"
        )
    if leaving:
        steps.append(f"version {_listed(leaving)} is unloaded: going back to it means loading it")
    if after.batching.enabled:
        steps.append(
            "batching is on: requests for the signature 'rank' will be refused, see "
            "server/batching.config"
        )
    return steps


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions))
