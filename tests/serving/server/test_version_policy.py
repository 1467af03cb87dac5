from __future__ import annotations

import pytest

from serving.server.model_settings import VersionPolicy

FOUND = [2, 10, 1, 7]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("latest", [10]),
        ("latest:1", [10]),
        ("latest:3", [10, 7, 2]),
        ("latest:9", [10, 7, 2, 1]),
        ("all", [10, 7, 2, 1]),
        ("specific:7", [7]),
        ("specific:1,3,10", [10, 1]),
        ("specific:3", []),
    ],
)
def test_policies_choose_the_highest_first(text: str, wanted: list[int]) -> None:
    assert VersionPolicy.parse(text).wanted(FOUND) == wanted


def test_no_version_found_is_none_wanted() -> None:
    for text in ("latest", "all", "specific:1"):
        assert VersionPolicy.parse(text).wanted([]) == []


@pytest.mark.parametrize(
    "text", ["", "latest:0", "latest:-1", "latest:", "newest", "specific", "specific:1,", "all:2"]
)
def test_other_forms_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="latest:N.*specific:V"):
        VersionPolicy.parse(text)
