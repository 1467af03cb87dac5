"""What trains many models, or inside another program, takes no strategy of several processes."""

from __future__ import annotations

from configs.loading import ConfigurationError
from configs.training import Training

_SEVERAL_PROCESSES = ("multi_worker", "parameter_server")


def require_one_process(training: Training, who: str) -> None:
    """Makes sure that one process is all that a training needs.

    Args:
      training: its options.
      who: what trains in one process, for the message.

    Raises:
      ConfigurationError: `training.distribution` is of several processes.
    """
    if training.distribution in _SEVERAL_PROCESSES:
        raise ConfigurationError(
            f"training.distribution '{training.distribution}': {who} one process; take 'none' or "
            "'mirrored', or train with 'python -m trainer train'"
        )
