from __future__ import annotations

import pytest

from preprocessing.answers.formats import FORMATS, LineFormat
from tests.preprocessing.answers.small_files import DOCUMENTS


@pytest.mark.parametrize("name", FORMATS)
def test_every_document_is_recognised_by_its_own_format_alone(name):
    document = DOCUMENTS[name]
    samples = document if isinstance(FORMATS[name], LineFormat) else [document]
    for sample in samples:
        assert [other for other, form in FORMATS.items() if form.recognises(sample)] == [name]
