from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from configs.training import Training
from trainer.one_process import require_one_process


@pytest.mark.parametrize("distribution", ["multi_worker", "parameter_server"])
def test_strategies_of_several_processes_are_refused(distribution: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_one_process(Training(distribution=distribution), "a search runs")
    assert f"training.distribution '{distribution}': a search runs one process" in str(caught.value)


@pytest.mark.parametrize("distribution", ["none", "mirrored"])
def test_one_process_is_enough_for_the_others(distribution: str) -> None:
    require_one_process(Training(distribution=distribution), "a search runs")
