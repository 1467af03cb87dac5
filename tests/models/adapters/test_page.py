from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from configs.model import Model
from models.adapters import ADAPTERS
from models.item_ids import KnowledgeIds
from models.knowledge import KnowledgeTable

ROW = re.compile(r"^\| `(\w+)`[^|]*\|[^|]*\| ([\d,]+) \|", re.MULTILINE)


def tables() -> dict[str, KnowledgeTable]:
    """Two sources of 384 numbers, with entities enough for all components and codes."""
    random = np.random.default_rng(0)
    ids = [str(number) for number in range(400)]
    return {
        source: KnowledgeTable(source, ids, random.normal(size=[400, 384]).astype(np.float32))
        for source in ("item", "user")
    }


def trained_numbers(adapter: str) -> int:
    if adapter == "none":
        return 0
    if adapter == "replace_id":
        rows = np.arange(401, dtype=np.int32)
        layer = KnowledgeIds(tables(), {"item": rows, "user": rows}, 32)
        layer(tf.constant([1]))
    else:
        layer = ADAPTERS[adapter](Model(), tables())
        layer({"item": tf.constant([1]), "user": tf.constant([1])})
    return int(sum(np.prod(weight.shape) for weight in layer.trainable_weights))


def test_the_page_counts_what_is_trained(repository_root: Path) -> None:
    page = (repository_root / "docs/adapters.md").read_text(encoding="utf-8")
    counted = {name: int(number.replace(",", "")) for name, number in ROW.findall(page)}
    assert set(counted) == {"none", "replace_id", *ADAPTERS}
    for name, number in counted.items():
        assert trained_numbers(name) == number, name
