"""YAML as people, editors and accidents write it: a scenario, or one clear error."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import preprocessing.__main__
import serving.__main__
import trainer.__main__
from configs.loading import ConfigurationError, load_scenario, parse_override, read_yaml
from tests.configs.test_loading import SMALL

DIGITS = "9" * 5000
NOT_PLAIN = [
    ("name: 2026-11-27\n", "name: holds a date; for a text, write it in quotes"),
    ("name: 2026-11-27T10:00:00Z\n", "name: holds a date"),
    ("2026-11-27: x\n", "holds a date as a key"),
    ("data: {2026-11-27: x}\n", "data: holds a date as a key"),
    ("no: x\n", "holds true or false as a key"),
    ("~: x\n", "holds null as a key"),
    ("1.5: x\n", "holds a fraction as a key"),
    ("name: 2026-99-99\n", "not valid YAML"),
    ("name: !!set {a, b}\n", "name: holds a set value"),
    ("name: !!binary aGVsbG8=\n", "name: holds a bytes value"),
    ("name: !!timestamp x\n", "not valid YAML"),
    ("name: !!bool x\n", "not valid YAML"),
    ("name: !!int ''\n", "not valid YAML"),
    ("name: !!float x\n", "not valid YAML"),
    ("? [a, b]\n: x\n", "not valid YAML"),
    ("name: a\nwork_dir: b\nname: a\n", "key 'name' stands in line 1 already; join the two"),
    ("data: {users: 1,\n users: 2}\n", "key 'users' stands in line 1 already"),
    ("{1: a, '1': b}\n", "key '1' stands in line 1 already"),
    ("data: {010: x}\n", "'010' would be a number to another base; for a text, write it in quotes"),
    ("name: -01_0\n", "'-01_0' would be a number to another base"),
    ("name: 12:30\n", "'12:30' would be a number to another base"),
    ("name: 1:30.5\n", "'1:30.5' would be a number to the base of 60"),
    (f"training: {{seed: {DIGITS}}}\n", "not valid YAML"),
    (f"training: {{seed: 0x{DIGITS}}}\n", "training.seed: holds a whole number of more than 63"),
    (f"training: {{seed: {'9' * 400}}}\n", "training.seed: holds a whole number of more than 63"),
    (f"? 0x{DIGITS}\n: x\n", "holds a whole number of more than 63"),
    (f"name: {'[' * 500}{']' * 500}\n", "more than 40 deep in each other"),
    (f"name: {'[' * 50}{']' * 50}\n", "more than 40 deep in each other"),
    (f"name: {'{a: ' * 60}x{'}' * 60}\n", "more than 40 deep in each other"),
    ("name: &a [*a]\n", "more than 40 deep in each other"),
    (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)),
        "holds more than 1,000,000 values",
    ),
    ('work_dir: "out\\0"\n', "work_dir: holds a NUL"),
    ('work_dir: "out\\ud800"\n', "work_dir: holds a NUL or half a surrogate pair"),
]


@pytest.mark.parametrize(("text", "message"), NOT_PLAIN, ids=range(len(NOT_PLAIN)))
def test_what_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "value",
    ["2026-11-27", "{2026-11-27: x}", DIGITS, f"0x{DIGITS}", "[" * 500, "!!bool x"],
    ids=range(6),
)
def test_overrides_are_held_to_the_same(value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_override(f"name={value}")
    assert str(raised.value).startswith("override 'name=")
    assert len(str(raised.value)) < 1000


def test_a_merged_map_may_be_changed() -> None:
    text = "a: &a {x: 1, y: 0}\nb: {<<: *a, x: 0x10}\n"
    assert read_yaml(text, "text") == {"a": {"x": 1, "y": 0}, "b": {"x": 16, "y": 0}}


def test_whole_numbers_may_be_keys() -> None:
    assert read_yaml("{1: male, a: [1, 2.5, null, true, x]}", "text") == {
        "1": "male",
        "a": [1, 2.5, None, True, "x"],
    }


NOT_FINITE = (".nan", ".inf", "-.inf", "nan", "inf", "1.0e+999", "1e999")
NUMBERS = (
    "split.fractions=[{}, 0.5, 0.5]",
    "data.positive_rating={}",
    "data.labels.loved.minimum_rating={}",
    "model.dropout_rate={}",
    "model.knowledge_match.length_scale={}",
    "model.knowledge_match.noise={}",
    "model.knowledge_prior.length_scale={}",
    "training.learning_rate={}",
    "training.class_weights=[1, {}]",
    "training.epochs={}",
    "generation.timeout_seconds={}",
    "generation.budget_usd={}",
    "prompts.lift_smoothing={}",
    "experiment.tuning.space.a=[{{low: {}, high: 2}}]",
)


@pytest.mark.parametrize("number", NOT_FINITE)
@pytest.mark.parametrize("override", NUMBERS)
def test_numbers_are_finite(tmp_path: Path, override: str, number: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    written = override.format(number)
    with pytest.raises(ConfigurationError, match=written.partition("=")[0]):
        load_scenario(path, [written])


@pytest.mark.parametrize("number", NOT_FINITE[:3])
@pytest.mark.parametrize(
    "override",
    [
        "model.backbone_options.rate={}",
        "model.backbone_options.units=[1, {}]",
        "experiment.arms.a.overrides={{model.dropout_rate: {}}}",
        "experiment.tuning.space.a.choices=[1, {}]",
    ],
)
def test_numbers_are_finite_where_any_value_may_stand(
    tmp_path: Path, override: str, number: str
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="expected a finite number"):
        load_scenario(path, [override.format(number)])


PROGRAMS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "preprocessing": (preprocessing.__main__.main, ["examples"]),
    "trainer": (trainer.__main__.main, ["train"]),
    "serving": (serving.__main__.main, ["deploy", "--out", "out"]),
}


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (_fifo, "is a FIFO; name a regular file"),
        (lambda folder: folder, "is a folder; name a regular file"),
        (lambda folder: Path("/dev/null"), "is a device; name a regular file"),
        (lambda folder: Path("/dev/zero"), "is a device; name a regular file"),
    ],
)
def test_every_program_wants_a_regular_file(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    program: str,
    made: Callable[[Path], Path],
    message: str,
) -> None:
    path = made(tmp_path)
    main, words = PROGRAMS[program]
    assert main([*words, "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert f"error: {path}: {message}" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("text", [NOT_PLAIN[0][0], NOT_PLAIN[2][0], NOT_PLAIN[19][0]], ids=range(3))
def test_every_program_refuses_odd_yaml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, text: str
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    main, words = PROGRAMS[program]
    assert main([*words, "--config", str(path)]) == 2
    assert f"error: {path}: " in capsys.readouterr().err


PIECES = [
    *("name", "data", "model", "training", "knowledge", "a", "'", '"', "\n", "\n  ", ": ", "- "),
    *("{", "}", "[", "]", ", ", "&x ", "*x", "!!int ", "!!float ", "!!timestamp ", "!!omap ", "? "),
    *(
        "<<: ",
        "2026-01-01",
        "2026-13-41",
        "0x",
        "0b",
        "1e5",
        ".nan",
        "-.inf",
        "0o9",
        "1:30",
        "=",
        "|",
    ),
    *("~", "yes", "\\0", "\\ud800", "\t", "%YAML 1.1\n", "---\n", "...\n", "é", "\ufeff", "\u2028"),
    *("9" * 30, "'" * 3, "[" * 45, "# ", ">-\n", "!", "!!python/name:os.x ", "@", "`", "_", "="),
]


@pytest.mark.parametrize("seed", range(8))
def test_random_text_is_a_scenario_or_a_clear_error(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = tmp_path / "random.yaml"
    refused = 0
    for _ in range(150):
        text = "".join(draw.choices(PIECES, k=draw.randrange(1, 14)))
        if draw.random() < 0.5:
            place = draw.randrange(len(SMALL))
            text = SMALL[:place] + text + SMALL[place + draw.randrange(10) :]
        path.write_text(text, encoding="utf-8")
        try:
            json.dumps(load_scenario(path).model_dump(mode="json"), allow_nan=False)
        except ConfigurationError as error:
            refused += 1
            assert str(path) in str(error)
            assert len(str(error)) < 10_000
    assert refused > 50


def test_numbers_with_exponents_are_numbers() -> None:
    text = "{a: 1e-3, b: -2E5, c: 1.e+2, d: 1.5e3, e: '1e-3', f: 1e, g: 12e5a}"
    assert read_yaml(text, "here") == {
        **{"a": 0.001, "b": -2e5, "c": 100.0, "d": 1500.0},
        **{"e": "1e-3", "f": "1e", "g": "12e5a"},
    }
