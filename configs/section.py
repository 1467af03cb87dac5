"""The base of all sections of a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, defaults validated like input."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
