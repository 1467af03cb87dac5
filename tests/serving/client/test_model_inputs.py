from __future__ import annotations

from serving.client.inputs import STRINGS_WITHOUT_PROFILE, InputKind, ModelInputs


def test_profile_and_whole_numbers_are_found_among_the_inputs() -> None:
    found = ModelInputs.of_kinds(
        {
            "user_id": InputKind.STRINGS,
            "item_id": InputKind.INTEGERS,
            "user_log_count": InputKind.NUMBERS,
            "profile_city": InputKind.STRINGS,
            "profile_age": InputKind.NUMBERS,
        }
    )
    assert found == ModelInputs({"city": True, "age": False}, frozenset({"item_id"}))
    assert ModelInputs.of_kinds({"user_id": InputKind.STRINGS}) == STRINGS_WITHOUT_PROFILE
