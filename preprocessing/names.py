"""Names that become file names or columns."""

from __future__ import annotations

import re

from configs.data import CatalogueTable
from configs.loading import ConfigurationError
from preprocessing.records.item_tables import FIXED_COLUMNS

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VOCABULARIES = ("user_id",)


def require_plain_name(key: str, name: str) -> None:
    """Checks that a name can be a folder or a file.

    Raises:
      ConfigurationError: it holds other characters than letters, digits, '_', '-' and '.'.
    """
    if not _PLAIN_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{key}: the name '{name}' becomes a file name; use letters, digits, '_', '-' and '.'"
        )


def require_attribute_names(catalogue: CatalogueTable) -> None:
    """Checks the names of item attributes.

    Raises:
      ConfigurationError: a name cannot be a file or is taken by a column of another meaning.
    """
    taken = [*FIXED_COLUMNS, *_VOCABULARIES]
    for name in catalogue.attributes:
        require_plain_name("data.catalogue.attributes", name)
        if name in taken:
            raise ConfigurationError(
                f"data.catalogue.attributes: '{name}' is taken ({', '.join(taken)}); "
                "give the attribute another name and set its 'column'"
            )
