"""What the user is asked about: the candidates of each kind of example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from configs.raw_data import RerankLists
from preprocessing.hashing import mixed, stable_hashes
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.unseen_items import Draws, UnseenItems

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
    of, candidates = _joined(sequences, np.arange(len(rows)), rows, draws)
    return rows[of], candidates, draws.missing


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
    place = np.arange(len(rows)) - np.searchsorted(users, users, side="left")
    opens = place % lists.window == 0
    list_of_row = np.cumsum(opens) - 1
    first_rows = rows[opens]
    wanted = lists.length - np.bincount(list_of_row, minlength=len(first_rows))
    first_users, positions = sequences.user_of_row[first_rows], sequences.positions[first_rows]
    draws = unseen.draw(first_users, positions, wanted)
    of, candidates = _joined(sequences, list_of_row, rows, draws)
    ends = np.cumsum(np.bincount(of, minlength=len(first_rows)))
    starts = ends - np.bincount(of, minlength=len(first_rows))
    keys = mixed(stable_hashes(sequences.users, f"shuffle {lists.seed}")[first_users])
    keys = mixed(keys ^ mixed(positions.astype(np.uint64)))
    slots = np.arange(len(of)) - starts[of]
    order = np.lexsort([mixed(keys[of] + slots.astype(np.uint64)), of])
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
    groups = np.concatenate([group_of_row, draws.of])
    order = np.argsort(groups, kind="stable")
    all_rows = np.concatenate([rows, np.full(len(draws.of), SAMPLED)])
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
