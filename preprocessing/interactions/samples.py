"""Samples and their candidates as columns of the record contract, for every kind of example."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import Data, RerankLists
from preprocessing.interactions.catalogue import ProfileColumns
from preprocessing.interactions.sequences import TRAIN, UserSequences
from preprocessing.records import contract
from preprocessing.records.contract import CTR, RERANK, RETRIEVAL
from preprocessing.records.hashing import mixed, stable_hashes, unit_interval
from preprocessing.records.wire import (
    BytesSequence,
    BytesValues,
    Column,
    FloatColumn,
    FloatSequence,
    IndexedBytesColumn,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
)

_ATTEMPTS = 32
"""Draws that may hit an item the user knows before all items that are left are listed."""


@dataclass(frozen=True)
class ItemUniverse:
    """All items that can be drawn.

    Attributes:
      item_ids: [items] strings, each once, in text order.
      positives: int64, samples with label 1 of each item: [items, populations], see
        `population_of_rows`; [items, 0] where items are not drawn by popularity.
    """

    item_ids: pa.Array
    positives: np.ndarray


@dataclass(frozen=True)
class Draws:
    """Drawn items.

    Attributes:
      requests: [drawn] number of the request that the item was drawn for, ascending.
      items: [drawn] index into the universe's items.
      missing: how many items could not be drawn, because the user knows all that are left.
    """

    requests: np.ndarray
    items: np.ndarray
    missing: int


NUM_POPULATIONS = contract.USER_FOLDS + len(contract.PARTS) - 1
"""Samples that negatives are as popular as: of training by fold of users, then of later parts."""


def population_of_rows(folds: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """To which population of `ItemUniverse` each interaction belongs.

    A training sample is described by item statistics without its user's fold. A positive is an
    interaction of that fold, so that its item has lost one more than other items as popular; only
    items that users of the same fold chose have lost as many.

    Args:
      folds: [rows] fold of each user.
      parts: [rows] part number; none is HISTORY_ONLY.

    Returns:
      [rows] the fold where the part is train, else one number for each later part.
    """
    return np.where(parts == TRAIN, folds, contract.USER_FOLDS - 1 + parts)


class UnseenItems:
    """Draws items for some users.

    Args:
      item_ids: [items] what to draw from, in text order; holds every item of the sequences.
      sequences: all interactions of the users.
      seen: [rows] True for the interactions by which a user knows an item; what a user knows is
        never drawn.
      purpose: name and seed of the draws, e.g. "negatives 0".
      weights: [populations, items] draws an item in proportion to its weight in the user's
        population; None draws every item alike.
      populations: [users] index into the weights; None is the first one for all.
      reserve: [items] weights by which items are drawn once too few of some weight in the user's
        population are left, not less than any of those; None leaves such requests short.
    """

    def __init__(
        self,
        item_ids: pa.Array,
        sequences: UserSequences,
        seen: np.ndarray,
        purpose: str,
        weights: np.ndarray | None = None,
        populations: np.ndarray | None = None,
        reserve: np.ndarray | None = None,
    ):
        self._count = len(item_ids)
        users = len(sequences.users)
        self._weights = np.ones((1, self._count), np.int64) if weights is None else weights
        self._ends = np.cumsum(self._weights, axis=1)
        self._populations = np.zeros(users, np.int64) if populations is None else populations
        self._reserve = self._weights[0] if reserve is None else reserve
        self._user_hashes = stable_hashes(sequences.users, purpose)
        item_numbers = pc.index_in(
            pa.array(sequences.item_ids, pa.string()), value_set=item_ids
        ).to_numpy()
        items = item_numbers[sequences.item_of_row[seen]]
        pairs = np.unique(self._pairs(sequences.user_of_row[seen], items))
        # No pair is that large, so every search ends at a place of the array.
        self._seen_pairs = np.append(pairs, np.iinfo(np.int64).max)
        known_users, known_items = np.divmod(pairs, max(self._count, 1))

        def left(drawable: np.ndarray, populations: np.ndarray) -> np.ndarray:
            lost = known_users[drawable[populations[known_users], known_items]]
            population_sizes = np.count_nonzero(drawable, axis=1)
            return population_sizes[populations] - np.bincount(lost, minlength=users)

        self._left_of_user = left(self._weights > 0, self._populations)
        self._left_in_reserve = left(self._reserve[np.newaxis] > 0, np.zeros(users, np.int64))

    def draw(self, users: np.ndarray, positions: np.ndarray, wanted: np.ndarray) -> Draws:
        """Draws distinct items for each request.

        Args:
          users: [requests] index into the sequences' users.
          positions: [requests] position of the user's interaction that the items belong to.
          wanted: [requests] number of items.
        """
        keys = mixed(self._user_hashes[users] ^ mixed(positions.astype(np.uint64)))
        own = np.minimum(wanted, self._left_of_user[users])
        possible = np.minimum(wanted, self._left_in_reserve[users])
        chosen = np.full((len(users), possible.max(initial=0)), -1, dtype=np.int64)
        for slot in range(chosen.shape[1]):
            waiting = np.flatnonzero(own > slot)
            for attempt in range(_ATTEMPTS):
                if not len(waiting):
                    break
                numbers = mixed(keys[waiting] + np.uint64(1 + slot * (_ATTEMPTS + 1) + attempt))
                items = self._item_at(self._populations[users[waiting]], unit_interval(numbers))
                taken = self._knows(users[waiting], items)
                taken |= (chosen[waiting, :slot] == items[:, np.newaxis]).any(axis=1)
                chosen[waiting[~taken], slot] = items[~taken]
                waiting = waiting[taken]
            beyond = np.flatnonzero((own <= slot) & (possible > slot))
            self._draw_from_rest(waiting, slot, users, keys, chosen, in_reserve=False)
            self._draw_from_rest(beyond, slot, users, keys, chosen, in_reserve=True)
        requests, slots = np.nonzero(chosen >= 0)
        return Draws(
            requests=requests,
            items=chosen[requests, slots],
            missing=int(wanted.sum()) - len(requests),
        )

    def _draw_from_rest(
        self,
        requests: np.ndarray,
        slot: int,
        users: np.ndarray,
        keys: np.ndarray,
        chosen: np.ndarray,
        in_reserve: bool,
    ) -> None:
        """Draws by listing what is left, for requests whose user knows most items."""
        user, unknown = -1, np.zeros(0, dtype=np.int64)
        for request in requests.tolist():
            if users[request] != user:
                user = users[request]
                weights = self._reserve if in_reserve else self._weights[self._populations[user]]
                unknown = self._unknown(user, weights)
            left = unknown[~np.isin(unknown, chosen[request, :slot])]
            ends = np.cumsum(weights[left])
            if len(left) and ends[-1]:
                number = mixed(
                    keys[request : request + 1] + np.uint64((slot + 1) * (_ATTEMPTS + 1))
                )
                index = (unit_interval(number) * ends[-1]).astype(np.int64)
                chosen[request, slot] = left[np.searchsorted(ends, index, side="right")[0]]

    def _item_at(self, populations: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Items by places in [0, 1), each as wide as its weight in the population."""
        items = np.empty(len(places), dtype=np.int64)
        for population in np.unique(populations):
            ends, here = self._ends[population], populations == population
            numbers = (places[here] * ends[-1]).astype(np.int64)
            items[here] = np.searchsorted(ends, numbers, side="right")
        return items

    def _pairs(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return users * np.int64(self._count) + items

    def _knows(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        pairs = self._pairs(users, items)
        return self._seen_pairs[np.searchsorted(self._seen_pairs, pairs)] == pairs

    def _unknown(self, user: int, weights: np.ndarray) -> np.ndarray:
        """All items of some weight that a user does not know."""
        first, end = np.searchsorted(
            self._seen_pairs, [user * self._count, (user + 1) * self._count]
        )
        seen = self._seen_pairs[first:end] - user * self._count
        candidates = weights > 0
        candidates[seen] = False
        return np.flatnonzero(candidates)


SAMPLED = -1
"""Row of a candidate that is no interaction but a sampled item."""


@dataclass(frozen=True)
class Candidates:
    """Candidates, each an interaction or a sampled item.

    Attributes:
      rows: [candidates] row of the interaction, or SAMPLED.
      items: [candidates] index into the sequences' items, or for a sampled one into the universe's.
    """

    rows: np.ndarray
    items: np.ndarray


@dataclass(frozen=True)
class CandidateLists:
    """Lists of candidates for re-ranking.

    Attributes:
      first_rows: [lists] row of each list's first interaction.
      starts: [lists] index of each list's first candidate.
      ends: [lists] index after each list's last candidate.
      candidates: all candidates, list after list.
      missing: how many sampled items the lists lack.
    """

    first_rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    candidates: Candidates
    missing: int


def interactions_alone(sequences: UserSequences, rows: np.ndarray) -> Candidates:
    """Each interaction as a candidate."""
    return Candidates(rows=rows, items=sequences.item_of_row[rows])


def with_negatives(
    sequences: UserSequences, rows: np.ndarray, unseen: UnseenItems, per_positive: int
) -> tuple[np.ndarray, Candidates, int]:
    """Each interaction as a candidate, and after each one with label 1 its sampled negatives.

    Args:
      sequences: all interactions of some users.
      rows: [samples] interactions that are samples.
      unseen: draws the negatives.
      per_positive: how many for each interaction with label 1.

    Returns:
      [candidates] the row whose history a candidate has, the candidates, and how many negatives
      are missing.
    """
    wanted = sequences.labels[rows].astype(np.int64) * per_positive
    draws = unseen.draw(sequences.user_of_row[rows], sequences.positions[rows], wanted)
    sample_of_candidate, candidates = _joined(sequences, np.arange(len(rows)), rows, draws)
    return rows[sample_of_candidate], candidates, draws.missing


def rerank_lists(
    sequences: UserSequences, rows: np.ndarray, unseen: UnseenItems, lists: RerankLists
) -> CandidateLists:
    """Windows of consecutive samples of a user, filled up with sampled items and shuffled.

    A user's last window may hold fewer interactions; it is filled up all the same.

    Args:
      sequences: all interactions of some users.
      rows: [samples] the samples of one part, ascending.
      unseen: draws the items.
      lists: size of windows and lists, and the seed of the shuffle.
    """
    users = sequences.user_of_row[rows]
    position = np.arange(len(rows)) - np.searchsorted(users, users, side="left")
    opens = position % lists.window == 0
    list_of_row = np.cumsum(opens) - 1
    first_rows = rows[opens]
    wanted = lists.length - np.bincount(list_of_row, minlength=len(first_rows))
    first_users, positions = sequences.user_of_row[first_rows], sequences.positions[first_rows]
    draws = unseen.draw(first_users, positions, wanted)
    list_of_candidate, candidates = _joined(sequences, list_of_row, rows, draws)
    ends = np.cumsum(np.bincount(list_of_candidate, minlength=len(first_rows)))
    starts = ends - np.bincount(list_of_candidate, minlength=len(first_rows))
    keys = mixed(stable_hashes(sequences.users, f"shuffle {lists.seed}")[first_users])
    keys = mixed(keys ^ mixed(positions.astype(np.uint64)))
    slots = np.arange(len(list_of_candidate)) - starts[list_of_candidate]
    order = np.lexsort(
        [mixed(keys[list_of_candidate] + slots.astype(np.uint64)), list_of_candidate]
    )
    return CandidateLists(
        first_rows=first_rows,
        starts=starts,
        ends=ends,
        candidates=Candidates(rows=candidates.rows[order], items=candidates.items[order]),
        missing=draws.missing,
    )


def _joined(
    sequences: UserSequences, group_of_row: np.ndarray, rows: np.ndarray, draws: Draws
) -> tuple[np.ndarray, Candidates]:
    """Interactions and drawn items, group after group, interactions first.

    Args:
      sequences: all interactions of some users.
      group_of_row: [rows] group of each interaction, ascending.
      rows: the interactions.
      draws: items drawn for the groups.

    Returns:
      [candidates] group of each candidate, and the candidates.
    """
    groups = np.concatenate([group_of_row, draws.requests])
    order = np.argsort(groups, kind="stable")
    all_rows = np.concatenate([rows, np.full(len(draws.requests), SAMPLED)])
    all_items = np.concatenate([sequences.item_of_row[rows], draws.items])
    return groups[order], Candidates(rows=all_rows[order], items=all_items[order])


def ids_of(
    candidates: Candidates, sequences: UserSequences, universe: pa.Array | None
) -> tuple[list[str], np.ndarray]:
    """Distinct ids of the candidates' items, and for each candidate which of them it has.

    Args:
      candidates: interactions and sampled items.
      sequences: what the interactions belong to.
      universe: ids that sampled items name; None when there are none.
    """
    sampled = candidates.rows == SAMPLED
    if universe is None or not sampled.any():
        return sequences.item_ids, candidates.items
    drawn, drawn_index = np.unique(candidates.items[sampled], return_inverse=True)
    index = candidates.items.copy()
    index[sampled] = len(sequences.item_ids) + drawn_index
    return sequences.item_ids + universe.take(pa.array(drawn)).to_pylist(), index


def user_folds(users: list[str]) -> np.ndarray:
    """Fold of each user, int64 in [0, USER_FOLDS)."""
    return (stable_hashes(users, "fold") % np.uint64(contract.USER_FOLDS)).astype(np.int64)


class UserColumns:
    """Columns that say who the user is and what came before; what all rows share is made once.

    Args:
      sequences: all interactions of some users.
      history_length: interactions kept in a history.
      profiles: attributes of the users.
    """

    def __init__(self, sequences: UserSequences, history_length: int, profiles: ProfileColumns):
        self._sequences = sequences
        self._history_length = history_length
        self._profiles = profiles
        self._users = BytesValues(_encoded(sequences.users))
        self._items = BytesSequence(_encoded(sequences.item_ids), sequences.item_of_row)
        self._ratings = FloatSequence(sequences.ratings)
        self._liked_before = self._sum_before(sequences.labels.astype(np.float64))
        self._rating_before = self._sum_before(sequences.ratings)
        self._folds = user_folds(sequences.users)

    def user(self, rows: np.ndarray) -> dict[str, Column]:
        """The user of each row."""
        return {contract.USER_ID: IndexedBytesColumn(self._users, self._user_of_row(rows))}

    def before(self, rows: np.ndarray) -> dict[str, Column]:
        """The user just before each row, and the user's profile."""
        positions = self._sequences.positions[rows]
        starts = rows - np.minimum(positions, self._history_length)
        divisor = np.maximum(positions, 1)
        users = self._user_of_row(rows)
        return {
            contract.HISTORY_ITEM_ID: RaggedBytesColumn(self._items, starts, rows),
            contract.HISTORY_RATING: RaggedFloatColumn(self._ratings, starts, rows),
            contract.USER_SHARE_LIKED: FloatColumn(self._liked_before[rows] / divisor),
            contract.USER_MEAN_RATING: FloatColumn(self._rating_before[rows] / divisor),
            contract.USER_LOG_COUNT: FloatColumn(np.log1p(positions)),
            contract.TIMESTAMP: Int64Column(self._sequences.timestamps[rows]),
            contract.POSITION: Int64Column(positions),
            contract.USER_FOLD: Int64Column(self._folds[users]),
            **self._profiles.of_users(users),
        }

    def _user_of_row(self, rows: np.ndarray) -> np.ndarray:
        return self._sequences.user_of_row[rows]

    def _sum_before(self, values: np.ndarray) -> np.ndarray:
        """Sum over the user's earlier interactions, for each row, untouched by other users'."""
        before = np.zeros(len(values))
        for start, end in itertools.pairwise([*self._sequences.starts.tolist(), len(values)]):
            np.cumsum(values[start : end - 1], out=before[start + 1 : end])
        return before


@dataclass(frozen=True)
class ExampleColumns:
    """Examples of one kind.

    Attributes:
      user: columns of the users.
      rows: [examples] row whose history an example has.
      candidates: feature -> its column for some examples, by their numbers.
    """

    user: UserColumns
    rows: np.ndarray
    candidates: Mapping[str, Callable[[np.ndarray], Column]]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.rows)

    def of(self, numbers: np.ndarray) -> dict[str, Column]:
        """Columns of some examples, by their numbers, in the given order."""
        rows = self.rows[numbers]
        return {
            **self.user.user(rows),
            **{name: column(numbers) for name, column in self.candidates.items()},
            **self.user.before(rows),
        }


def ctr_columns(
    user: UserColumns,
    sequences: UserSequences,
    history_rows: np.ndarray,
    candidates: Candidates,
    universe: pa.Array | None,
    extra_labels: Sequence[str] = (),
) -> ExampleColumns:
    """Examples with one candidate each.

    Args:
      user: columns of the users.
      sequences: all interactions of the users.
      history_rows: [examples] row whose history an example has.
      candidates: candidate of each example.
      universe: ids that sampled items name; None when there are none.
      extra_labels: names of further labels (`data.labels`), in order.
    """
    bits = real_or_zero(sequences.extra_labels, candidates).astype(np.int64)
    numbers = {
        contract.LABEL: real_or_zero(sequences.labels, candidates),
        contract.RATING: real_or_zero(sequences.ratings, candidates),
    } | {
        contract.extra_label_feature(name).name: (bits >> number) & 1
        for number, name in enumerate(extra_labels)
    }
    items = {contract.ITEM_ID: _one_id(*ids_of(candidates, sequences, universe))}
    floats = {name: _one_float(values) for name, values in numbers.items()}
    return ExampleColumns(user, history_rows, items | floats)


def rerank_columns(
    user: UserColumns, sequences: UserSequences, lists: CandidateLists, universe: pa.Array
) -> ExampleColumns:
    """Examples with a list of candidates each.

    Args:
      user: columns of the users.
      sequences: all interactions of the users.
      lists: the lists.
      universe: ids that sampled items name.
    """
    starts, ends = lists.starts, lists.ends
    item_ids, item_index = ids_of(lists.candidates, sequences, universe)
    items = BytesSequence(_encoded(item_ids), item_index)
    labels = FloatSequence(real_or_zero(sequences.labels, lists.candidates))
    ratings = FloatSequence(real_or_zero(sequences.ratings, lists.candidates))
    return ExampleColumns(
        user,
        lists.first_rows,
        {
            contract.ITEM_ID: lambda some: RaggedBytesColumn(items, starts[some], ends[some]),
            contract.LABEL: lambda some: RaggedFloatColumn(labels, starts[some], ends[some]),
            contract.RATING: lambda some: RaggedFloatColumn(ratings, starts[some], ends[some]),
        },
    )


def retrieval_columns(
    user: UserColumns, sequences: UserSequences, rows: np.ndarray
) -> ExampleColumns:
    """Examples with one liked item each: the interactions `rows`, [examples]."""
    item = _one_id(sequences.item_ids, sequences.item_of_row[rows])
    return ExampleColumns(user, rows, {contract.ITEM_ID: item})


def _one_id(ids: list[str], index: np.ndarray) -> Callable[[np.ndarray], Column]:
    values = BytesValues(_encoded(ids))
    return lambda some: IndexedBytesColumn(values, index[some])


def _one_float(values: np.ndarray) -> Callable[[np.ndarray], Column]:
    return lambda some: FloatColumn(values[some])


def real_or_zero(values: np.ndarray, candidates: Candidates) -> np.ndarray:
    """Values of the candidates' interactions; 0 for sampled ones.

    Args:
      values: [rows], one per interaction.
      candidates: interactions and sampled items.
    """
    taken = values[np.maximum(candidates.rows, 0)] if len(values) else np.zeros(0)
    return np.where(candidates.rows == SAMPLED, 0, taken)


def _encoded(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]


def needs_universe(data: Data) -> bool:
    """True when examples hold sampled items."""
    return RERANK in data.examples or (CTR in data.examples and data.negatives.per_positive > 0)


def drawn_by_popularity(data: Data) -> bool:
    """True when sampled negatives are as popular as the positives of their part."""
    return (
        CTR in data.examples
        and data.negatives.per_positive > 0
        and data.negatives.by == "popularity"
    )


class ExampleMaker:
    """Makes examples and counts the sampled items that could not be drawn.

    Args:
      sequences: all interactions of some users.
      parts: [rows] part number of each, see `SplitRows`.
      profiles: their attributes.
      data: configuration of the data.
      universe: what sampled items are drawn from; needed by `needs_universe`.

    Attributes:
      missing_negatives: sampled negatives that CTR examples lack.
      missing_candidates: sampled items that lists for re-ranking lack.
    """

    def __init__(
        self,
        sequences: UserSequences,
        parts: np.ndarray,
        profiles: ProfileColumns,
        data: Data,
        universe: ItemUniverse | None,
    ):
        self.missing_negatives = 0
        self.missing_candidates = 0
        self._sequences = sequences
        self._parts = parts
        self._data = data
        self._universe = universe
        self._user = UserColumns(sequences, data.history_length, profiles)

    def make(self, kind: str, part: int) -> ExampleColumns:
        """The examples of one kind and part.

        Args:
          kind: ctr, rerank or retrieval.
          part: number of the part.
        """
        rows = np.flatnonzero(self._parts == part)
        if kind == RERANK:
            return self._rerank(rows, part)
        if kind == RETRIEVAL:
            liked = rows[self._sequences.labels[rows] == 1]
            return retrieval_columns(self._user, self._sequences, liked)
        return self._ctr(rows, part)

    def _ctr(self, rows: np.ndarray, part: int) -> ExampleColumns:
        negatives = self._data.negatives
        if not negatives.per_positive:
            alone = interactions_alone(self._sequences, rows)
            return self._ctr_examples(rows, alone, None)
        by_popularity: dict[str, np.ndarray] = {}
        if drawn_by_popularity(self._data):
            folds = user_folds(self._sequences.users)
            user_populations = population_of_rows(folds, np.full(len(folds), part))
            so_far = self._items_to_draw.positives[:, : contract.USER_FOLDS + part].T
            by_popularity = {
                "weights": so_far, "populations": user_populations, "reserve": so_far.sum(axis=0)
            }  # fmt: skip
        unseen = self._unseen(part, f"negatives {negatives.seed}", **by_popularity)
        history_rows, candidates, missing = with_negatives(
            self._sequences, rows, unseen, negatives.per_positive
        )
        self.missing_negatives += missing
        return self._ctr_examples(history_rows, candidates, self._items_to_draw.item_ids)

    def _ctr_examples(
        self, history_rows: np.ndarray, candidates: Candidates, universe: pa.Array | None
    ) -> ExampleColumns:
        return ctr_columns(
            self._user,
            self._sequences,
            history_rows,
            candidates,
            universe,
            tuple(self._data.labels),
        )

    def _rerank(self, rows: np.ndarray, part: int) -> ExampleColumns:
        settings = self._data.rerank
        unseen = self._unseen(part, f"rerank {settings.seed}")
        lists = rerank_lists(self._sequences, rows, unseen, settings)
        self.missing_candidates += lists.missing
        universe = self._items_to_draw.item_ids
        return rerank_columns(self._user, self._sequences, lists, universe)

    def _unseen(self, part: int, purpose: str, **by_popularity: np.ndarray) -> UnseenItems:
        """Draws items new to a user by the end of a part: later interactions stay unknown."""
        # The number of interactions before k_u, HISTORY_ONLY, is smaller than that of any part.
        seen = self._parts <= part
        item_ids = self._items_to_draw.item_ids
        return UnseenItems(item_ids, self._sequences, seen, purpose, **by_popularity)

    @property
    def _items_to_draw(self) -> ItemUniverse:
        if self._universe is None:
            raise ValueError("sampled items need a universe of items to draw from")
        return self._universe
