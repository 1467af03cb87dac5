"""A process that trains runs for an experiment, one after the other.

It reads a job as a line of JSON from standard input and answers in lines of JSON on standard
output: {"epoch": row} after every epoch, at last {"done": metrics} or {"failed": reason, "setting":
whether the run's settings are at fault}. Everything that libraries print goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from configs.command_line import say, set_up_tensorflow
from trainer.tracking import tracking_address, tracking_of


def main() -> None:
    """Trains until standard input ends, which it also does when the experiment is killed."""
    parser = argparse.ArgumentParser(prog="python -m trainer.experiments.worker")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tracking", type=tracking_address)
    parser.add_argument("--experiment", required=True, help="its name in the tracking")
    arguments = parser.parse_args()
    messages = _standard_output_kept_apart()
    jobs = _jobs()
    set_up_tensorflow()

    import tensorflow as tf

    from configs.loading import scenario_from_tree
    from trainer.distribution.base import prepare_devices
    from trainer.examples import ExampleStore
    from trainer.experiments.trainers import Job, LocalTrainer, reason_text
    from trainer.tuning import SettingFailed

    say(prepare_devices())
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    tracking = tracking_of(arguments.tracking, arguments.experiment)
    trainer = LocalTrainer(ExampleStore(), tracking)

    def send(message: dict[str, object]) -> None:
        print(json.dumps(message), file=messages, flush=True)

    for described in jobs:
        job = Job(scenario_from_tree(described["scenario"]), described["tags"])
        try:
            send({"done": trainer.train(job, [lambda row: send({"epoch": dict(row)})])})
        except Exception as error:
            failed = isinstance(error, SettingFailed)
            send({"failed": reason_text(error), "setting": failed})


def _standard_output_kept_apart() -> TextIO:
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return messages


def _jobs() -> Iterator[dict]:
    """Jobs as they come; the process ends at once when none can come any more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        # A training that nobody waits for must not go on beside the one that replaces it.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


if __name__ == "__main__":
    main()
