"""The kinds of knowledge match, their features and the values of their kernels."""

from __future__ import annotations

from dataclasses import dataclass

MATCH_KINDS = ("means", "ridge")
RIDGE_FORMS = ("low_rank", "exact")
RIDGE_FEATURES = ("mean", "deviation")
MEANS_FEATURES = (
    "mean_near",
    "mean_wide",
    "cosine_liked",
    "cosine_disliked",
    "nearest_liked",
    "nearest_disliked",
)
MEANS_LENGTH_SCALES = (0.1, 0.25)


@dataclass(frozen=True)
class MatchMethod:
    """How a match is computed.

    Attributes:
      kind: "means" or "ridge".
      form: "low_rank" or "exact"; of ridge only.
      learned: whether the kernel's parameters are trained, from the values below.
      length_scale: of ridge's kernel over cosines.
      bias: constant part of ridge's kernel.
      noise: variance of a rating in ridge.
    """

    kind: str
    form: str = "low_rank"
    learned: bool = False
    length_scale: float = 0.5
    bias: float = 0.3
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Checks the names and values.

        Raises:
          ValueError: the kind or form is unknown, or a value is not positive.
        """
        if self.kind not in MATCH_KINDS:
            raise ValueError(
                f"match kind must be one of {MATCH_KINDS}. Received: kind={self.kind!r}"
            )
        if self.form not in RIDGE_FORMS:
            raise ValueError(
                f"match form must be one of {RIDGE_FORMS}. Received: form={self.form!r}"
            )
        for name in ("length_scale", "bias", "noise"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be greater than 0. Received: {name}={getattr(self, name)!r}"
                )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features of a candidate."""
        return MEANS_FEATURES if self.kind == "means" else RIDGE_FEATURES

    @property
    def has_landmarks(self) -> bool:
        """Whether vectors are compared through landmarks (low-rank ridge)."""
        return self.kind == "ridge" and self.form == "low_rank"

    @property
    def computes_features(self) -> bool:
        """Whether the table holds cosines, from which the graph makes Nystroem features."""
        return self.has_landmarks and self.learned
