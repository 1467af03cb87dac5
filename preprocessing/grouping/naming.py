"""Names of groups: `g0001-5f3a9c`, the place in the tree and a digest.

The digest keeps an answer about one group from being taken for an answer about another: when
groups are made anew and a group has other members, or its prompt may show other interactions of
theirs, it has another name too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from preprocessing.hashing import stable_hash

_DIGEST_DIGITS = 6


def group_names(
    entity_ids: pa.Array, group_of_entity: np.ndarray, groups: int, boundary: str
) -> list[str]:
    """[groups] names in the order of the groups.

    Args:
      entity_ids: [entities] sorted.
      group_of_entity: [entities] number of the group, negative for none.
      groups: number of groups.
      boundary: the settings that say which interactions a prompt may show.
    """
    order = np.argsort(group_of_entity, kind="stable")
    ends = np.searchsorted(group_of_entity[order], np.arange(groups + 1))
    digits = max(4, len(str(groups)))
    names = []
    for number, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        members = entity_ids.take(pa.array(order[start:end])).to_pylist()
        content = "\n".join([boundary, *members])
        digest = f"{stable_hash(content, 'group'):016x}"[:_DIGEST_DIGITS]
        names.append(f"g{number:0{digits}d}-{digest}")
    return names
