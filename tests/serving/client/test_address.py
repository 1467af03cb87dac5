from __future__ import annotations

import pytest

from serving.client.errors import ModelAddress


def test_a_version_is_named_in_one_way() -> None:
    assert ModelAddress("h:1", "m", 3).version_label is None
    assert ModelAddress("h:1", "m", None, "stable").model_version is None
    with pytest.raises(ValueError, match="not both. Received: 3 and 'stable'"):
        ModelAddress("h:1", "m", 3, "stable")
