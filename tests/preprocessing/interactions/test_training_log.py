from __future__ import annotations

import numpy as np

from preprocessing.interactions.training_log import collect_training_log, marked_interactions
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

FIRST = [("b", "2", 3.0, 1), ("b", "1", 4.0, 2), ("d", "9", 1.0, 1)]
SECOND = [("a", "1", 5.0, 1), ("c", "3", 2.0, 1), ("a", "7", 2.5, 2)]


def marked(rows, training):
    return marked_interactions(sequences_of(interaction_table(*rows)), np.array(training))


def test_shards_become_one_log_with_the_users_in_order():
    tables = [marked(FIRST, [True, True, False]), marked(SECOND, [True, False, True])]
    for order in (tables, tables[::-1]):
        log = collect_training_log(order)
        assert log.users == ["a", "b", "c", "d"] and log.items == ["1", "2", "3", "7", "9"]
        # Rows of a shard are sorted by user, so c's stands last: a's second one is no training row.
        assert [log.users[user] for user in log.user_of_row] == ["a", "b", "b", "c"]
        assert [log.items[item] for item in log.item_of_row] == ["1", "2", "1", "3"]
        assert log.ratings.tolist() == [5.0, 3.0, 4.0, 2.0]
        assert log.user_of_row.dtype == log.item_of_row.dtype == np.int32


def test_nothing_at_all():
    log = collect_training_log([marked([], np.zeros(0, bool))])
    assert (log.users, log.items, len(log.ratings)) == ([], [], 0)
    assert collect_training_log([]).users == []
