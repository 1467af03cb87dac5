"""TensorFlow Recommenders' own metric of a retrieval model, beside this project's exact ranks."""

from __future__ import annotations

import tensorflow as tf

from models.retrieving import RetrievalModel
from trainer.examples import PreparedExamples
from trainer.retrieval_metrics import CUTOFFS

_BATCH = 1024


def factorized_top_k(model: RetrievalModel, examples: PreparedExamples) -> dict[str, float]:
    """What `tfrs.metrics.FactorizedTopK` says, over all items of the catalogue.

    It is `recall_at_k` by another program; the two may differ where scores are equal.

    Returns:
      Share of examples whose item is among the first k, by k as text; without the k that are larger
      than the catalogue.
    """
    ks = [k for k in CUTOFFS if k <= model.num_items]
    metric = model.factorized_top_k(ks)
    vectors = tf.function(model.user_vectors, reduce_retracing=True)
    items = tf.constant(model.all_item_vectors())
    for batch in examples.batches(_BATCH):
        rows = batch["item_row"]
        metric.update_state(vectors(batch), tf.gather(items, rows), true_candidate_ids=rows)
    return {str(k): float(share) for k, share in zip(ks, metric.result(), strict=True)}
