"""How models are compared."""

from __future__ import annotations

from pydantic import Field

from configs.section import Section


class Evaluation(Section):
    """How results are judged."""

    bootstrap_resamples: int = Field(
        1000, ge=10, description="resamples of test users for the intervals"
    )
    bootstrap_seed: int = 0


class Arm(Section):
    """One arm of an experiment: a name and what it changes."""

    description: str = Field("", description="what people read about the arm")
    overrides: dict[str, object] = Field(
        default_factory=dict, description="dotted keys and their values"
    )


class Experiment(Section):
    """Backbones x arms x seeds."""

    backbones: tuple[str, ...] = ("din", "dcnv2")
    arms: dict[str, Arm] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (1, 2, 3)
