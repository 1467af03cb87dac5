"""TensorFlow Recommenders' own metric of a retrieval model, beside this project's exact ranks."""

from __future__ import annotations

import tensorflow as tf

from models.retrieving import RetrievalModel
from trainer.examples import PreparedExamples
from trainer.metrics import RETRIEVAL_CUTOFFS as CUTOFFS

_BATCH = 1024


class FactorizedTopK:
    """What `tfrs.metrics.FactorizedTopK` says, over all items of the catalogue.

    It is `recall_at_k` by another program; the two may differ where scores are equal.
    """

    def __init__(self, model: RetrievalModel):
        """Starts without examples.

        Args:
          model: a trained model.
        """
        self._ks = [k for k in CUTOFFS if k <= model.num_items]
        self._metric = model.factorized_top_k(self._ks)
        self._vectors = tf.function(model.user_vectors, reduce_retracing=True, autograph=False)
        self._items = tf.constant(model.all_item_vectors())

    def add(self, examples: PreparedExamples) -> None:
        """Adds examples."""
        for batch in examples.batches(_BATCH):
            rows = batch["item_row"]
            chosen = tf.gather(self._items, rows)
            self._metric.update_state(self._vectors(batch), chosen, true_candidate_ids=rows)

    def shares(self) -> dict[str, float]:
        """Share of examples whose item is among the first k, by k as text.

        A k that is larger than the catalogue is left out.
        """
        result = zip(self._ks, self._metric.result(), strict=True)
        return {str(k): float(share) for k, share in result}
