from __future__ import annotations

import pytest

from preprocessing.answers.record import custom_id, split_custom_id


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("item/318", ("item", "individual", "318")),
        ("item/group/7", ("item", "collective", "7")),
        ("user_liked/group/a/b", ("user_liked", "collective", "a/b")),
        ("item/a/b", ("item", "individual", "a/b")),
        ("item/groups/7", ("item", "individual", "groups/7")),
    ],
)
def test_an_id_is_split_and_joined(text, parts):
    assert split_custom_id(text) == parts
    assert custom_id(*parts) == text


@pytest.mark.parametrize("text", ["", "318", "item/", "/318", "item/group", "item/group/"])
def test_other_texts_are_no_custom_ids(text):
    assert split_custom_id(text) is None
