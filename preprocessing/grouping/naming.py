"""Names of groups: `g0001-5f3a9c`, the place in the tree and a digest.

The digest keeps an answer about one group from being taken for an answer about another: when
groups are made anew and a group has other members, or other interactions of theirs are known, it
has another name too. So an answer whose prompt may have shown other interactions than those before
k_u, because the log, its order or what counts as liked has changed, fits no group any more.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from preprocessing.grouping.kinds import Kind
from preprocessing.hashing import stable_hash

_DIGEST_DIGITS = 6


def group_names(
    entity_ids: pa.Array,
    fingerprints: np.ndarray,
    group_of_entity: np.ndarray,
    groups: int,
    kind: Kind,
) -> list[str]:
    """[groups] names in the order of the groups.

    Args:
      entity_ids: [entities] sorted.
      fingerprints: [entities] uint64 of what is known about each (`fingerprints`).
      group_of_entity: [entities] number of the group, negative for none.
      groups: number of groups.
      kind: groups of items, or of users by what they liked or disliked.
    """
    order = np.argsort(group_of_entity, kind="stable")
    ends = np.searchsorted(group_of_entity[order], np.arange(groups + 1))
    digits = max(4, len(str(groups)))
    names = []
    for number, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        rows = order[start:end]
        members = zip(
            entity_ids.take(pa.array(rows)).to_pylist(), fingerprints[rows].tolist(), strict=True
        )
        content = "\n".join([kind, *(f"{number:016x} {member}" for member, number in members)])
        digest = f"{stable_hash(content, 'group'):016x}"[:_DIGEST_DIGITS]
        names.append(f"g{number:0{digits}d}-{digest}")
    return names
