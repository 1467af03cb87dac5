from __future__ import annotations

import pytest

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from configs.prompting import Prompts
from preprocessing.grouping.plan import kind_of_groups


def test_kinds():
    items, users = (
        SourceAnswers.model_validate({"entity": entity, "collective": ["a"], "grouping": {}})
        for entity in ("item", "user")
    )
    assert kind_of_groups("anything", items, Prompts()) == "item"
    assert kind_of_groups("user_disliked", users, Prompts()) == "disliked"
    assert kind_of_groups("fans", users, Prompts(user_groups={"fans": "liked"})) == "liked"
    with pytest.raises(ConfigurationError, match="prompts.user_groups.fans=liked"):
        kind_of_groups("fans", users, Prompts())
