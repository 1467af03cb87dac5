"""The processes that train together, as the environment variable TF_CONFIG names them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from configs.loading import ConfigurationError
from configs.training import Training

VARIABLE = "TF_CONFIG"
CHIEF, WORKER, SERVER = "chief", "worker", "ps"
_JOBS = {"multi_worker": (CHIEF, WORKER), "parameter_server": (CHIEF, WORKER, SERVER)}
_EXAMPLES = {
    "multi_worker": {
        "cluster": {WORKER: ["10.0.0.1:2222", "10.0.0.2:2222"]},
        "task": {"type": WORKER, "index": 0},
    },
    "parameter_server": {
        "cluster": {
            CHIEF: ["10.0.0.1:2222"],
            WORKER: ["10.0.0.2:2222", "10.0.0.3:2222"],
            SERVER: ["10.0.0.4:2222"],
        },
        "task": {"type": CHIEF, "index": 0},
    },
}


@dataclass(frozen=True)
class Cluster:
    """All processes of a training, and which of them this one is.

    Attributes:
      tasks: job -> addresses "host:port" of its processes.
      job: of this process: "chief", "worker" or "ps".
      index: of this process among those of its job.
    """

    tasks: Mapping[str, tuple[str, ...]]
    job: str
    index: int

    @property
    def name(self) -> str:
        """Name of this process, for people."""
        return f"{self.job} {self.index}"

    @property
    def address(self) -> str:
        """Address of this process, host:port."""
        return self.tasks[self.job][self.index]

    @property
    def others(self) -> list[str]:
        """Addresses of all other processes."""
        everywhere = [address for addresses in self.tasks.values() for address in addresses]
        return [address for address in everywhere if address != self.address]

    @property
    def chief(self) -> str:
        """Address of the process that writes the run folder: the chief, or else worker 0."""
        return (self.tasks.get(CHIEF) or self.tasks[WORKER])[0]

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes the run folder."""
        return self.address == self.chief

    @property
    def is_server(self) -> bool:
        """Whether this process only does what the chief of parameter servers tells it to."""
        return SERVER in self.tasks and self.job != CHIEF

    @property
    def trainers(self) -> int:
        """Processes with a model of their own under multi_worker."""
        return len(self.tasks.get(CHIEF, ())) + len(self.tasks.get(WORKER, ()))

    @property
    def trainer_index(self) -> int:
        """Position of this process among them, the chief first."""
        return self.index + (len(self.tasks.get(CHIEF, ())) if self.job == WORKER else 0)


def cluster_of(training: Training) -> Cluster | None:
    """The cluster of a distribution over several processes; None for one process.

    Raises:
      ConfigurationError: TF_CONFIG is missing, malformed, or not for this distribution.
    """
    if training.distribution not in _JOBS:
        return None
    return _Reader(training.distribution).cluster(os.environ.get(VARIABLE))


class _Reader:
    """Reads TF_CONFIG for one distribution; every error says what it must hold."""

    def __init__(self, distribution: str):
        self._distribution = distribution

    def cluster(self, text: str | None) -> Cluster:
        if not text:
            self._refuse("is not set")
        try:
            received = json.loads(text)
        except ValueError as error:
            self._refuse(f"is not valid JSON ({error})")
        if not isinstance(received, Mapping):
            self._refuse("must be a JSON object")
        tasks = self._tasks(received.get("cluster"))
        task = received.get("task")
        if not isinstance(task, Mapping) or not {"type", "index"} <= task.keys():
            self._refuse("must say in 'task' which process this is, by 'type' and 'index'")
        job, index = task["type"], task["index"]
        if job not in tasks:
            self._refuse(f"says in task.type {job!r}, and 'cluster' has {', '.join(tasks)}")
        # Some schedulers write the index as text.
        if not (isinstance(index, int | str) and str(index).isdecimal()):
            self._refuse(f"says in task.index {index!r}; expected a whole number from 0")
        if int(index) >= len(tasks[job]):
            self._refuse(
                f"says in task.index {index}, and 'cluster' has {len(tasks[job])} of '{job}', "
                "counted from 0"
            )
        return Cluster(tasks, job, int(index))

    def _tasks(self, received: object) -> dict[str, tuple[str, ...]]:
        if not isinstance(received, Mapping):
            self._refuse("must name all processes in 'cluster'")
        allowed = _JOBS[self._distribution]
        tasks = {}
        for job, addresses in received.items():
            if job not in allowed:
                self._refuse(f"has a job {job!r} in 'cluster'; there are {', '.join(allowed)}")
            if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
                self._refuse(f'must give cluster.{job} as a list of "host:port"')
            if addresses:
                tasks[job] = tuple(addresses)
        self._check_counts(tasks)
        everywhere = [address for addresses in tasks.values() for address in addresses]
        for address in everywhere:
            if everywhere.count(address) > 1:
                self._refuse(f"names the address {address} twice in 'cluster'")
        return tasks

    def _check_counts(self, tasks: Mapping[str, tuple[str, ...]]) -> None:
        if len(tasks.get(CHIEF, ())) > 1:
            self._refuse("names more than one chief in 'cluster'")
        needed = _JOBS[self._distribution]
        if self._distribution == "multi_worker":
            needed = (CHIEF,) if CHIEF in tasks else (WORKER,)
        for job in needed:
            if job not in tasks:
                self._refuse(f"must name at least one '{job}' in 'cluster'")

    def _refuse(self, reason: str) -> NoReturn:
        raise ConfigurationError(
            f"training.distribution={self._distribution}: the environment variable {VARIABLE} "
            f"{reason}. It names all processes, the same for each of them, and which one this is; "
            f"for example {VARIABLE}='{json.dumps(_EXAMPLES[self._distribution])}' "
            "(docs/distributed.md)"
        )


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    host, separator, port = value.rpartition(":")
    return bool(host and separator) and port.isdecimal()


def require_one_process(training: Training, who: str) -> None:
    """Makes sure that one process is all that a training needs.

    What trains many models, or inside another program, takes no strategy of several processes.

    Args:
      training: its options.
      who: what trains in one process, for the message.

    Raises:
      ConfigurationError: `training.distribution` is of several processes.
    """
    if training.distribution in _JOBS:
        raise ConfigurationError(
            f"training.distribution '{training.distribution}': {who} one process; take 'none' or "
            "'mirrored', or train with 'python -m trainer train'"
        )
