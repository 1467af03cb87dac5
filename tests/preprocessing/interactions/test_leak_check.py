from __future__ import annotations

import numpy as np
import pytest

from configs.knowledge import Knowledge
from configs.loading import ConfigurationError
from configs.raw_data import Split
from preprocessing.interactions import leak_check
from preprocessing.interactions.seen_counts import SeenCount
from preprocessing.interactions.splitting import SplitRows, split_interactions
from tests.preprocessing.interactions.made_interactions import counted_sequences


def seen(*counts: tuple[str, int], source: str = "user", file_order: int = 0) -> list[SeenCount]:
    return [
        SeenCount(source, user, file_order, line, shown)
        for line, (user, shown) in enumerate(counts, start=1)
    ]


def test_only_samples_below_the_larger_limit_are_violations():
    sequences = counted_sequences([6, 4, 4])
    split = split_interactions(sequences, Split(knowledge_history_cap=2))
    check = leak_check.check_leaks(
        sequences, split, seen(("user0", 4), ("user1", 1), ("stranger", 99))
    )
    assert check.violations == 2
    # user1's prompt shows one of two: it may have left others out, and reach farther.
    assert check.users_verified_by_prompt == 1 and check.users_by_rule_only == 2
    assert [example.split(", ")[2:] for example in check.examples] == [
        ["position 2", "the LLM saw 4"],
        ["position 3", "the LLM saw 4"],
    ]
    assert "user0" not in "".join(check.examples)


def test_a_sample_before_the_boundary_is_a_violation_even_without_prompts():
    sequences = counted_sequences([4])
    wrong = SplitRows(np.array([2]), np.array([-1, 0, 0, 0], np.int8), np.ones(4, bool))
    assert leak_check.check_leaks(sequences, wrong, []).violations == 1


def test_at_most_five_examples_are_kept():
    sequences = counted_sequences([40])
    split = split_interactions(sequences, Split(knowledge_history_cap=0))
    check = leak_check.check_leaks(sequences, split, seen(("user0", 30)))
    assert check.violations == 30 and len(check.examples) == 5


def knowledge(**answers: dict[str, object]) -> Knowledge:
    return Knowledge.model_validate({"sources": [], "answers": answers})


def test_sources_are_countable_or_not():
    described = knowledge(
        item={"entity": "item", "individual": ["i"]},
        item_group={"entity": "item", "collective": ["c"], "groups": "g"},
        user={"entity": "user", "individual": ["u"], "history_entry_pattern": " stars"},
        user_unknown={"entity": "user", "individual": ["u"]},
        user_group={"entity": "user", "collective": ["c"], "groups": "g"},
        user_verified={
            "entity": "user", "collective": ["c"], "groups": "g", "groups_verified": True,
        },
        user_made_here={"entity": "user", "collective": ["c"], "grouping": {}},
        user_grouped={"entity": "user", "collective": ["c"], "grouping": {}},
        user_vectors={"entity": "user", "vectors": ["v.npz"]},
        item_vectors={"entity": "item", "vectors": ["v.npz"]},
        item_text={"entity": "item", "metadata": ["title"]},
        item_random={"entity": "item", "random": {}},
        item_rated={"entity": "item", "collaborative": {}},
        user_random={"entity": "user", "random": {}},
    )  # fmt: skip
    assert list(leak_check.counted_sources(described)) == ["user"]
    assert leak_check.uncountable_sources(described) == [
        "item_group", "item_vectors", "user_group", "user_unknown", "user_vectors",
    ]  # fmt: skip


def test_a_pattern_that_is_none_is_explained():
    described = knowledge(
        user={"entity": "user", "individual": ["u"], "history_entry_pattern": "(stars"}
    )
    with pytest.raises(ConfigurationError, match=r"user\.history_entry_pattern: not a regular"):
        leak_check.counted_sources(described)


def test_the_largest_count_of_a_user_is_the_limit():
    split = split_interactions(counted_sequences([10]), Split(knowledge_history_cap=2))
    counts = [*seen(("user0", 4), ("user0", 3)), *seen(("user0", 5), source="taste")]
    assert leak_check.check_leaks(counted_sequences([10]), split, counts).violations == 3


def test_what_a_prompt_was_made_from_counts_even_if_it_shows_less():
    sequences = counted_sequences([60])
    split = split_interactions(sequences, Split(knowledge_history_cap=10))
    made_with_30 = SeenCount("user", "user0", 0, 1, shown=8, recorded=30)
    assert leak_check.check_leaks(sequences, split, [made_with_30]).violations == 20
    silent = leak_check.check_leaks(sequences, split, [made_with_30._replace(recorded=None)])
    assert silent.violations == 0 and silent.users_verified_by_prompt == 0
    assert silent.uncounted_answers == {"user": 1}


def uncounted(*counts: SeenCount) -> dict[str, int]:
    """What is uncounted for users of 6, 6 and 1 interactions; the last one has no sample."""
    sequences = counted_sequences([6, 6, 1])
    split = split_interactions(sequences, Split(knowledge_history_cap=3))
    return leak_check.check_leaks(sequences, split, counts).uncounted_answers


def test_every_answer_in_use_must_have_a_counted_prompt():
    assert uncounted(*seen(("user0", 3), ("user1", 3))) == {}
    assert uncounted(*seen(("user0", 3), ("user1", 2))) == {"user": 1}
    recorded = SeenCount("user", "user1", 0, 2, shown=2, recorded=3)
    assert uncounted(*seen(("user0", 3)), recorded) == {}
    assert uncounted(*seen(("user0", 3), ("user1", 0))) == {"user": 1}
    both = [*seen(("user0", 0), ("user1", 0), source="b"), *seen(("user0", 0), source="a")]
    assert list(uncounted(*both).items()) == [("a", 1), ("b", 2)]


def test_answers_that_no_sample_uses_need_no_count():
    assert uncounted(*seen(("user0", 3), ("user2", 0), ("stranger", 0))) == {}
    counted_first = [*seen(("user0", 0), file_order=1), *seen(("user0", 3))]
    assert uncounted(*counted_first) == {}
    counted_second = [*seen(("user0", 3), file_order=1), *seen(("user0", 0))]
    assert uncounted(*counted_second) == {"user": 1}
