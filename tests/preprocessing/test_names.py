from __future__ import annotations

import pytest

from configs.data import CatalogueTable
from configs.loading import ConfigurationError
from preprocessing.names import require_attribute_names, require_plain_name


@pytest.mark.parametrize("name", ["user_liked", "item-2", "v1.0", "9"])
def test_plain_names_pass(name):
    require_plain_name("key", name)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "ü", "a b"])
def test_names_that_cannot_be_files_are_refused(name):
    with pytest.raises(ConfigurationError, match="key: the name"):
        require_plain_name("key", name)


@pytest.mark.parametrize("name", ["item_id", "title", "rating_count_by_fold", "user_id"])
def test_taken_names_are_refused(name):
    catalogue = CatalogueTable.model_validate(
        {"path": "p", "attributes": {name: {"kind": "numeric", "column": "x"}}}
    )
    with pytest.raises(ConfigurationError, match=f"'{name}' is taken"):
        require_attribute_names(catalogue)
