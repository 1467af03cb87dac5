"""All features of a scenario's examples, those included that its data names."""

from __future__ import annotations

from configs.raw_data import Data
from preprocessing.records.contract import (
    CTR,
    FEATURES_OF_KIND,
    Feature,
    extra_label_feature,
    profile_feature,
)


def features_of(kind: str, data: Data) -> tuple[Feature, ...]:
    """All features of a kind of examples, extra labels and the user's profile included.

    Args:
      kind: ctr, rerank or retrieval.
      data: names the extra labels, which only CTR examples have, and the profile's attributes.
    """
    labels = map(extra_label_feature, data.labels) if kind == CTR else ()
    attributes = data.profiles.attributes if data.profiles else {}
    profile = (profile_feature(name, attribute.kind) for name, attribute in attributes.items())
    return (*FEATURES_OF_KIND[kind], *labels, *profile)
