"""Weights, training and ranking cost of every backbone, as ratios to DIN's processor time.

    python -m benchmarks.backbone_cost

The setting: two item fields and two augmented vectors of width 32, a history of 30, ten numbers.
Prints one JSON line for each backbone; a ratio is the median over rounds, in each of which the
backbone and DIN run one after the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from benchmarks.measuring import measured, print_measure
from models.backbones import BACKBONES
from models.backbones.base import BackboneInputs

_WIDTH, _ITEM_FIELDS, _SOURCES, _HISTORY, _NUMBERS = 32, 2, 2, 30, 10
_RATING_FEATURES = 2
_REFERENCE = "din"
Work = Callable[[], object]


def main() -> None:
    """Measures all registered backbones, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", help="registry names; default: all")
    parser.add_argument("--batch-size", type=int, default=1024, help="of a training step")
    parser.add_argument("--candidates", type=int, default=200, help="ranked for one user")
    parser.add_argument("--steps", type=int, default=10, help="training steps in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.backbones) - set(BACKBONES)
    if unknown:
        parser.error(f"no backbone {', '.join(sorted(unknown))}; there are {', '.join(BACKBONES)}")
    tf.keras.utils.set_random_seed(arguments.seed)
    reference = _works(_REFERENCE, arguments)
    for name in arguments.backbones or sorted(BACKBONES):
        layer, *works = _works(name, arguments)
        # Ranking is far shorter than a training step, and processor time has a coarse clock.
        train, rank = (
            _ratio(work, base, steps, arguments.rounds)
            for work, base, steps in zip(
                works, reference[1:], (arguments.steps, 20 * arguments.steps), strict=True
            )
        )
        print_measure(
            "backbone_cost",
            backbone=name,
            weights=layer.count_params(),
            train_to_din_cpu=train,
            rank_to_din_cpu=rank,
            batch_size=arguments.batch_size,
            candidates=arguments.candidates,
            seed=arguments.seed,
        )


def _works(name: str, arguments: argparse.Namespace) -> tuple[tf.keras.layers.Layer, Work, Work]:
    """A backbone with its weights, its training step and its ranking of one user's candidates."""
    layer = BACKBONES[name]()
    batch = _inputs(arguments.batch_size, arguments.batch_size)
    request = _inputs(arguments.candidates, 1)
    labels = tf.cast(tf.random.uniform([arguments.batch_size, 1]) > 0.5, tf.float32)
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    optimizer = tf.keras.optimizers.Adam(jit_compile=False)
    layer(batch)
    optimizer.build(layer.trainable_variables)

    @tf.function(autograph=False)
    def train() -> None:
        with tf.GradientTape() as tape:
            value = loss(labels, layer(batch, training=True))
        gradients = tape.gradient(value, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))

    @tf.function(autograph=False)
    def rank() -> tf.Tensor:
        return layer(request, training=False)

    for work in (train, rank):
        work()
    return layer, train, rank


def _inputs(rows: int, users: int) -> BackboneInputs:
    step_width = _ITEM_FIELDS * _WIDTH + _RATING_FEATURES
    return BackboneInputs(
        candidate=tf.random.normal([rows, _ITEM_FIELDS, _WIDTH]),
        history=tf.random.normal([users, _HISTORY, step_width]),
        history_mask=tf.random.uniform([users, _HISTORY]) > 0.2,
        numeric=tf.random.normal([rows, _NUMBERS]),
        side_fields=tf.random.normal([rows, _SOURCES, _WIDTH]),
    )


def _ratio(work: Work, base: Work, steps: int, rounds: int) -> float:
    ratios = []
    for _ in range(rounds):
        seconds = []
        for program in (work, base):
            with measured() as watch:
                for _ in range(steps):
                    program()
            seconds.append(watch.cpu_seconds)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
