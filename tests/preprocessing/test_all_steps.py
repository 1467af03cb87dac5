from __future__ import annotations

import pytest

from configs.command_line import RejectedInput
from configs.loading import ConfigurationError
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


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_missing_answer_file_stops_everything_first(small_scenario, dry_run):
    missing = {"entity": "item", "individual": ["nowhere.jsonl"]}
    scenario = small_scenario(knowledge__answers__item=missing)
    with pytest.raises(ConfigurationError, match=r"answers.item.individual: there is no file 'now"):
        run_all_steps(scenario, dry_run=dry_run)
    assert not WorkDirectory(scenario.work_dir).path.exists()


def test_an_unknown_attribute_stops_everything_first(small_scenario):
    text = {"entity": "item", "metadata": ["title", "genre"]}
    scenario = small_scenario(knowledge__answers__item=text)
    with pytest.raises(ConfigurationError, match=r"item.metadata: .* Did you mean 'genres'"):
        run_all_steps(scenario)
    assert not WorkDirectory(scenario.work_dir).path.exists()
