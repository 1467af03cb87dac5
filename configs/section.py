"""The base of all sections of a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, defaults validated like input."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a name that stands there twice; for validators of lists of names.

    Raises:
      ValueError: a name stands there twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is named {names.count(name)} times; name it once")
    return names


def split_names(names: object) -> object:
    """Reads "item, user" as ("item", "user"); for validators that run before the type's own.

    Raises:
      ValueError: nothing stands where names should.
    """
    if names is None:
        raise ValueError("name at least one, or write [] for none where that is allowed")
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return names
