"""Optimizers of a training: one for embedding tables, one for all other variables."""

from trainer.optimizers.building import build_optimizer

__all__ = ["build_optimizer"]
