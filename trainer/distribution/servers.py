"""What workers and parameter servers do: whatever the chief tells them, until it has ended."""

from __future__ import annotations

import socket
import time

import tensorflow as tf

from configs.command_line import CommandError, say
from trainer.distribution.cluster import Cluster
from trainer.run_folder import RunFolder

_ASK_SECONDS = 1.0
_GONE_SECONDS = 15.0


def serve_chief(cluster: Cluster, folder: RunFolder) -> None:
    """Serves until the chief of parameter servers can no longer be reached.

    Args:
      cluster: with this process as a worker or a parameter server.
      folder: of the run that the chief trains.

    Raises:
      CommandError: the chief is gone and has left an unfinished run.
    """
    server = tf.distribute.Server(
        tf.train.ClusterSpec({job: list(addresses) for job, addresses in cluster.tasks.items()}),
        job_name=cluster.job,
        task_index=cluster.index,
        protocol="grpc",
    )
    say(f"{cluster.name}: serves at {server.target}, and ends after the chief at {cluster.chief}")
    while not _answers(cluster.chief):
        time.sleep(_ASK_SECONDS)
    seen = time.monotonic()
    while time.monotonic() - seen < _GONE_SECONDS:
        time.sleep(_ASK_SECONDS)
        if _answers(cluster.chief):
            seen = time.monotonic()
    if folder.unfinished.exists():
        raise CommandError(
            f"{cluster.name}: the chief at {cluster.chief} is gone and has not finished; start all "
            "processes again: training goes on from its last checkpoint"
        )
    say(f"{cluster.name}: the chief has ended")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_SECONDS):
            return True
    except OSError:
        return False
