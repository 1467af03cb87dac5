from __future__ import annotations

from configs.command_line import TeachingParser
from preprocessing.beam_options import BeamOptions
from preprocessing.commands.options import add_step_options, epilog, step_options_of


def test_a_command_line_becomes_keyword_arguments():
    parser = TeachingParser()
    add_step_options(parser)
    plain = parser.parse_args(["--config", "c.yaml"])
    assert step_options_of(plain) == {
        "strict": False,
        "force": False,
        "dry_run": False,
        "beam": BeamOptions(),
    }
    full = parser.parse_args(
        "--config c.yaml a=b --strict --force --dry-run --runner R --beam-option x=1"
        " --beam-option y=2 --staging gs://bucket/staging".split()
    )
    assert step_options_of(full) == {
        "strict": True,
        "force": True,
        "dry_run": True,
        "beam": BeamOptions("R", ("x=1", "y=2"), "gs://bucket/staging"),
    }


def test_the_help_ends_with_keys_and_exit_codes():
    text = epilog(["split"])
    assert "split.knowledge_history_cap" in text and "data.history_length" not in text
    assert "3 done in part: rejected records under --strict, or failed calls" in text
