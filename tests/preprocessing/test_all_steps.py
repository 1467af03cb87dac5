from __future__ import annotations

import pytest

from configs.command_line import RejectedInput
from preprocessing.all_steps import run_all_steps
from preprocessing.records.layout import WorkDirectory


def test_strict_fails_only_after_all_steps(small_scenario):
    scenario = small_scenario()
    with pytest.raises(RejectedInput) as raised:
        run_all_steps(scenario, strict=True)
    result = raised.value.result
    assert (result["records_in"], result["records_out"]) == (18 + 5, 17 + 5)
    assert result["dead_letters"] == 1
    assert WorkDirectory(scenario.work_dir).knowledge("item").manifest.exists()
    assert run_all_steps(scenario)["skipped"]
