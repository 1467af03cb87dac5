from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.arms import sources_of_arms
from configs.loading import load_scenario
from examples.movielens_small.demo import Steps, command_text, main


def test_help_says_what_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    for word in ("knowledge/", "examples/", "runs/", "export/", "report/", "--quick"):
        assert word in output


def test_help_needs_no_heavy_library(repository_root: Path) -> None:
    program = (
        "import sys\n"
        "from examples.movielens_small.demo import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    print('heavy:', *{'tensorflow', 'apache_beam', 'sklearn'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["heavy:"], done.stderr


def test_sources_of_all_arms_are_encoded(repository_root: Path) -> None:
    arms = (
        "{none: {overrides: {model.adapter: none}},"
        " match: {overrides: {model.adapter: none, model.match: ridge,"
        " model.knowledge_match.sources: [collaborative, item]}},"
        " prior: {overrides: {model.adapter: none, model.prior: true,"
        " model.knowledge_prior.sources: [title_genres]}},"
        " fields: {overrides: {knowledge.sources: [random_vectors]}}}"
    )
    config = repository_root / "configs" / "movielens_small_controls.yaml"
    scenario = load_scenario(config, [f"experiment.arms={arms}"])
    assert sources_of_arms(scenario) == ["collaborative", "item", "title_genres", "random_vectors"]


def test_steps_are_numbered_timed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps(total=2)
    with steps.step("encode answers") as record:
        record({"records_in": 5, "records_out": 3, "dead_letters": 2, "skipped": True, "x": 1})
    with steps.step("train") as record:
        record.same_number(4)
        record.reused(3)
    for actual, expected in zip(
        steps.records,
        [
            {
                "name": "encode answers",
                "records_in": 5,
                "records_out": 3,
                "dead_letters": 2,
                "skipped": True,
            },
            {
                "name": "train",
                "records_in": 4,
                "records_out": 4,
                "dead_letters": 0,
                "reused": 3,
                "skipped": False,
            },
        ],
        strict=True,
    ):
        assert actual["seconds"] >= 0
        assert {key: value for key, value in actual.items() if key != "seconds"} == expected
    captured = capsys.readouterr()
    assert captured.out == ""
    first, first_done, second, second_done = captured.err.splitlines()
    assert first == "[1/2] encode answers ..." and second == "[2/2] train ..."
    assert first_done.endswith("5 in, 3 out, 2 dead letters (unchanged, not repeated)")
    assert second_done.endswith("4 in, 4 out, 0 dead letters, 3 reused")


@pytest.mark.parametrize(
    ("config", "work_dir", "quick", "expected"),
    [
        ("configs/movielens_small.yaml", "out/demo", False, "make demo"),
        ("./configs/movielens_small.yaml", "out/demo/", True, "make demo QUICK=1"),
        (
            "configs/movielens_small.yaml",
            "out/other",
            False,
            "python -m examples.movielens_small.demo --config configs/movielens_small.yaml "
            "--work-dir out/other",
        ),
        (
            "my films.yaml",
            "out/demo",
            True,
            "python -m examples.movielens_small.demo --config 'my films.yaml' "
            "--work-dir out/demo --quick",
        ),
    ],
)
def test_the_command_is_the_one_that_does_the_same_again(
    config: str, work_dir: str, quick: bool, expected: str
) -> None:
    assert command_text(config, work_dir, quick) == expected


def test_a_failed_step_is_not_recorded() -> None:
    steps = Steps(total=1)
    with pytest.raises(OSError, match="disk full"), steps.step("encode"):
        raise OSError("disk full")
    assert steps.records == []
