from __future__ import annotations

import pytest

from preprocessing.answers.formats import Expected, is_chat_line, read_chat_line
from preprocessing.answers.record import RejectedAnswer
from tests.preprocessing.answers.small_files import batch_line, completion

ITEM = Expected("item")


def test_the_field_prompt_is_the_group_and_prompt_txt_the_prompt():
    answer = read_chat_line(completion("x", "length", prompt="7", prompt_txt="Describe."), ITEM)
    assert (answer.source, answer.extraction, answer.entity_id) == ("item", "collective", "7")
    assert (answer.prompt, answer.model, answer.finish_reason) == (
        "Describe.", "served-model", "length",
    )  # fmt: skip
    assert answer.record()["custom_id"] == "item/group/7"
    assert read_chat_line(completion("x", prompt=7), ITEM).entity_id == "7"


def test_options_say_what_the_file_does_not():
    line = completion("x", prompt="7")
    del line["model"]
    answer = read_chat_line(line, Expected("user", "individual", "m"))
    assert answer.record()["custom_id"] == "user/7" and answer.model == "m"


def test_a_custom_id_serves_where_there_is_no_prompt():
    answer = read_chat_line(completion("x", custom_id="item/318"), ITEM)
    assert (answer.extraction, answer.entity_id) == ("individual", "318")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (completion("x"), "missing_field"),
        (completion("x", prompt=True), "wrong_type"),
        (completion("x", prompt="Describe a film.\n" * 3), "invalid_entity_id"),
        (completion("", prompt="7"), "blank_answer"),
        (completion("x", custom_id="user/318"), "source_mismatch"),
    ],
)
def test_what_is_no_answer(line, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read_chat_line(line, ITEM)
    assert raised.value.reason == reason


def test_recognition():
    assert is_chat_line(completion("x"))
    assert not is_chat_line(batch_line("item/1", "x"))
