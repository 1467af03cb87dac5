from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions


def test_flags_are_those_of_beam():
    assert BeamOptions().flags == []
    assert BeamOptions("FlinkRunner", ("a=1", "b=x=y")).flags == [
        "--runner=FlinkRunner",
        "--a=1",
        "--b=x=y",
    ]


@pytest.mark.parametrize("option", ["direct_num_workers", "=2"])
def test_options_of_another_form_are_explained(option):
    with pytest.raises(ConfigurationError, match="write it as KEY=VALUE"):
        BeamOptions(None, (option,))
