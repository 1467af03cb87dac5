"""Training on several devices and in several processes."""

from trainer.distribution.base import LOST_PROCESS, Distribution
from trainer.distribution.choosing import distribution_of

__all__ = ["LOST_PROCESS", "Distribution", "distribution_of"]
