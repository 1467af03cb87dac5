from __future__ import annotations

import numpy as np
import pytest

from configs.command_line import CommandError
from preprocessing.records.knowledge import KnowledgeVectors
from tests.scenarios import tiny_scenario
from trainer.examples import PreparedExamples
from trainer.knowledge_coverage import knowledge_coverage


def vectors(*ids: str) -> KnowledgeVectors:
    return KnowledgeVectors(
        [*ids], np.ones([len(ids), 2]), ["individual"] * len(ids), [""] * len(ids)
    )


def samples(items: list[str], users: list[str]) -> PreparedExamples:
    return PreparedExamples({}, np.zeros(len(items)), np.array(users), np.array(items))


def test_samples_are_counted_by_item_and_by_user(capsys: pytest.CaptureFixture[str]) -> None:
    examples = samples(["1", "1", "2", "3"], ["u", "v", "u", "u"])
    knowledge = {"item": vectors("1", "9"), "user": vectors("v", "w")}
    shares = knowledge_coverage(tiny_scenario(), knowledge, examples)
    assert shares["item"]["covered_ids"] == 1 and shares["item"]["share_of_samples"] == 0.5
    assert shares["user"]["share_of_ids"] == 0.5 and shares["user"]["covered_samples"] == 1
    said = capsys.readouterr().err
    assert "train item: 33.3% of the log's 3 items and 50.0% of its 4 samples" in said
    assert "train user: warning:" in said and "train item: warning:" not in said


def test_padding_of_lists_is_no_sample() -> None:
    lists = PreparedExamples(
        {}, np.zeros([2, 2]), np.array(["u", "v"]), np.array([["1", ""], ["2", "1"]])
    )
    shares = knowledge_coverage(tiny_scenario(), {"item": vectors("1")}, lists)
    assert (shares["item"]["samples"], shares["item"]["covered_samples"]) == (3, 2)


def test_knowledge_about_other_ids_is_refused() -> None:
    with pytest.raises(CommandError) as error:
        knowledge_coverage(
            tiny_scenario(), {"item": vectors("artist-2001")}, samples(["2001.5"], ["u"])
        )
    message = str(error.value)
    for part in ("ratings.csv", "item_answers.jsonl", "'2001.5'", "'artist-2001'", "--ids FILE"):
        assert part in message
