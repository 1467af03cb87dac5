"""Getting GPUs ready, where there are any."""

from __future__ import annotations

import os

import tensorflow as tf


def prepare_devices() -> str:
    """Lets memory of GPUs be taken as it is needed, and says in one line what will compute.

    Without this, TensorFlow takes the memory of all GPUs when it first uses one. Call it before
    anything is computed: a GPU that is in use already is left as it is.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # In use already, with all memory that it will ever have.
            break
    if not gpus:
        cores = len(os.sched_getaffinity(0))
        return f"computes on the CPU, {cores} cores; TensorFlow finds no GPU (docs/training.md)"
    names = [
        str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
        for gpu in gpus
    ]
    kinds = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return f"computes on {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}: {kinds}"
