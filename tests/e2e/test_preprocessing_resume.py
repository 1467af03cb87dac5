"""Every step of preprocessing from an empty folder, twice, and after a kill in each step.

Relative paths, so that manifests of different folders can be the same.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from examples.synthetic import SyntheticLog
from tests.killing import Command, ForkedCommands, checksums, forked_commands
from tests.small_pipeline import SMALL_STEPS, write_small_scenario

COMPARED = ("work", "answers")
"""Folders whose files must be equal to the last byte."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
      arguments: after `python -m preprocessing`.
      begun: True when the step's process has begun to write, in a given folder.
      prepare: makes input files in a given folder.
    """

    arguments: list[str]
    begun: Callable[[Path], bool]
    prepare: Callable[[Path], None] = field(default=lambda folder: None)


def writes(*parts: str) -> Callable[[Path], bool]:
    """True when a step's hidden folder is there."""
    return lambda folder: folder.joinpath(*parts).exists()


def scenario_steps(sources: list[str]) -> list[Step]:
    """`encode` of each source and `examples`."""
    steps = [
        Step(
            ["encode", "--config", "scenario.yaml", "--source", source],
            writes("work", "knowledge", f".{source}.partial"),
        )
        for source in sources
    ]
    examples = Step(
        ["examples", "--config", "scenario.yaml"], writes("work", ".examples.partial", "ctr")
    )
    return [*steps, examples]


def grouping_steps(sources: list[str]) -> list[Step]:
    steps = [
        Step(
            ["group", "--config", "scenario.yaml", "--source", source],
            writes("work", "groups", f".{source}.partial"),
        )
        for source in sources
    ]
    return [
        *steps,
        Step(["prompts", "--config", "scenario.yaml"], writes("work", ".prompts.partial")),
    ]


def import_step(source: str, form: str, extraction: str, file: Path, name: str) -> Step:
    return Step(
        [
            *("import", "--source", source, "--format", form, "--extraction", extraction),
            *("--out", f"answers/{name}", str(file)),
        ],
        writes("answers"),
    )


def write_scenario(folder: Path, tree: dict[str, Any]) -> None:
    (folder / "scenario.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def run_twice_and_killed(
    root: Path, folders: Path, steps: list[Step], prepare: Callable[[Path], None]
) -> None:
    """The check itself.

    Args:
      root: the repository.
      folders: where the two folders are made.
      steps: the commands, in order.
      prepare: writes the scenario and its data into an empty folder.
    """
    undisturbed, disturbed = folders / "undisturbed", folders / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
        prepare(folder)
    command = Command(root, undisturbed)
    for step in steps:
        step.prepare(undisturbed)
        command.run(["preprocessing", *step.arguments])
    expected = {name: checksums(undisturbed / name) for name in COMPARED}
    assert any(path.endswith("manifest.json") for path in expected["work"])
    for step in steps:
        command.run(["preprocessing", *step.arguments])
    assert {name: checksums(undisturbed / name) for name in COMPARED} == expected

    command = Command(root, disturbed)
    kills = 0
    for step in steps:
        step.prepare(disturbed)
        for delay in (0.0, 0.4):
            kills += command.run_killed(
                ["preprocessing", *step.arguments], partial(step.begun, disturbed), delay
            )
        command.run(["preprocessing", *step.arguments])
    assert kills >= len(steps)
    assert {name: checksums(disturbed / name) for name in COMPARED} == expected


def answer_every_prompt(folder: Path) -> None:
    """Writes an answer for each rendered prompt, for `generate --client replay`."""
    prompts = folder / "work" / "prompts" / "prompts.jsonl"
    lines = []
    for line in prompts.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        text = f"It is known for this: {record['prompt'][:300]}. So much for {record['entity_id']}."
        lines.append(json.dumps(record | {"answer": text, "model": "none"}))
    (folder / "replay.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


GENERATE = Step(
    [
        *("generate", "--config", "scenario.yaml", "--prompts", "work/prompts/prompts.jsonl"),
        *("--client", "replay", "--replay", "replay.jsonl", "--out", "generated"),
    ],
    writes("generated"),
    prepare=answer_every_prompt,
)
"""Its store and summary hold times; the answers are compared through the vectors made of them."""


@pytest.mark.slow
def test_a_synthetic_log_of_a_million_interactions(repository_root: Path, tmp_path: Path) -> None:
    def prepare(folder: Path) -> None:
        log = SyntheticLog(1_000_000, users=6_000, items=4_000, seed=3)
        log.write_interactions(folder / "interactions.csv")
        log.write_catalogue(folder / "catalogue.csv")
        generated = ["generated/answers.jsonl"]
        write_scenario(
            folder,
            {
                "name": "synthetic",
                "work_dir": "work",
                "data": {
                    "interactions": {"path": "interactions.csv"},
                    "catalogue": {
                        "path": "catalogue.csv",
                        "attributes": {
                            "genres": {"kind": "categorical", "separator": "|"},
                            "year": {"kind": "numeric"},
                        },
                    },
                    "history_length": 50,
                },
                "knowledge": {
                    "sources": ["item", "user_liked"],
                    "answers": {
                        "item": {"entity": "item", "individual": generated},
                        "user_liked": {
                            "entity": "user",
                            "collective": generated,
                            "grouping": {"maximum_size": 100},
                        },
                    },
                    "encoder": {"kind": "tfidf", "dimension": 32},
                },
                "prompts": {"scenario": "movies"},
            },
        )

    steps = [
        *grouping_steps(["user_liked"]),
        GENERATE,
        *scenario_steps(["item", "user_liked"]),
    ]
    run_twice_and_killed(repository_root, tmp_path, steps, prepare)


@pytest.mark.slow
def test_the_bundled_sample(repository_root: Path, tmp_path: Path) -> None:
    sample = repository_root / "examples" / "movielens_small"
    imported = {"item_individual": "item", "user_individual": "user"}

    def prepare(folder: Path) -> None:
        shutil.copytree(sample, folder / "examples" / "movielens_small")
        tree = yaml.safe_load((repository_root / "configs" / "movielens_small.yaml").read_text())
        tree["work_dir"] = "work"
        answers = tree["knowledge"]["answers"]
        for name, source in imported.items():
            answers[source]["individual"] = [f"answers/{name}/answers.jsonl"]
        tree["knowledge"]["encoder"] = {"kind": "tfidf"}
        write_scenario(folder, tree)

    files = Path("examples/movielens_small/answers")
    steps = [
        *grouping_steps([]),
        *(
            import_step(source, "records", "individual", files / f"{name}.jsonl.gz", name)
            for name, source in imported.items()
        ),
        *scenario_steps(["item", "user", "user_liked", "user_disliked"]),
    ]
    run_twice_and_killed(repository_root, tmp_path, steps, prepare)


@pytest.mark.slow
def test_movielens_1m_with_the_published_answers(
    repository_root: Path, shared_data: Path, tmp_path: Path
) -> None:
    data = shared_data / "ml-1m"
    published = data / "reki_published"
    knowledge = {
        "item": "item_knowledge.json",
        "user_liked": "user_positive_knowledge.json",
        "user_disliked": "user_negative_knowledge.json",
    }

    def prepare(folder: Path) -> None:
        for name in ("ratings.csv.gz", "movies.dat", "users.dat"):
            (folder / name).symlink_to(data / name)
        for name in knowledge.values():
            (folder / name).symlink_to(published / name)
        write_published_groups(published, data / "movies.dat", folder)
        tree = yaml.safe_load((repository_root / "configs" / "movielens_1m.yaml").read_text())
        tree["work_dir"] = "work"
        tree["data"]["interactions"] = {
            "path": "ratings.csv.gz",
            "columns": {"timestamp": None, "order": "position"},
        }
        tree["data"]["catalogue"]["path"] = "movies.dat"
        tree["data"]["profiles"]["path"] = "users.dat"
        tree["data"]["history_length"] = 50
        tree["knowledge"] = {
            "sources": list(knowledge),
            "answers": {
                source: {
                    "entity": source.split("_")[0],
                    "collective": [f"answers/{source}/answers.jsonl"],
                    "groups": f"groups_{source}.csv",
                }
                for source in knowledge
            },
            "encoder": {"kind": "tfidf", "dimension": 64},
        }
        tree["model"] = {"adapter": "hein"}
        del tree["experiment"]
        write_scenario(folder, tree)

    steps = [
        *grouping_steps([]),
        *(
            import_step(source, "openai-chat", "collective", Path(name), source)
            for source, name in knowledge.items()
        ),
        *scenario_steps(list(knowledge)),
    ]
    run_twice_and_killed(repository_root, tmp_path, steps, prepare)


KILLS = 20
SEED = 16


def _results(folder: Path) -> dict[str, str]:
    """Checksums of what steps leave; the report of `forget` tells the time."""
    found = checksums(folder)
    return {path: checksum for path, checksum in found.items() if "forget_reports" not in path}


def _run_killed_and_again(
    commands: ForkedCommands, step: str, before: Path, expected: dict[str, str], change: int
) -> None:
    disturbed = before.with_name("disturbed")
    shutil.copytree(before, disturbed)
    commands.run(SMALL_STEPS[step], disturbed, killed_before=change)
    commands.run(SMALL_STEPS[step], disturbed)
    assert _results(disturbed) == expected, f"{step}, killed before change {change}"
    shutil.rmtree(disturbed)


@pytest.mark.slow
def test_each_step_killed_at_changes_of_the_disk_drawn_by_lot(
    repository_root: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(SEED)
    state = tmp_path / "state"
    state.mkdir()
    write_small_scenario(state)
    with forked_commands(repository_root) as commands:
        for step, words in SMALL_STEPS.items():
            before = tmp_path / "before"
            shutil.copytree(state, before)
            changes = commands.run(words, state)
            drawn = random.permutation(np.arange(1, changes + 1))[:KILLS]
            for change in drawn.tolist():
                _run_killed_and_again(commands, step, before, _results(state), change)
            shutil.rmtree(before)


def write_published_groups(published: Path, movies: Path, folder: Path) -> None:
    """Groups files of the published knowledge.

    Its item ids are the authors' own, so the titles in a group's prompt say which movies belong to
    it; its user ids run from 1 to 6040 as in MovieLens.
    """
    titles = {}
    for line in movies.read_text(encoding="latin-1").splitlines():
        item, title, _ = line.split("::")
        titles[title] = item
    group_of_item: dict[str, str] = {}
    for line in (published / "item_knowledge.json").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for title, item in titles.items():
            if f" {title}," in record["prompt_txt"]:
                group_of_item.setdefault(item, str(record["prompt"]))
    assert len(group_of_item) > 900
    groups_of_user = json.loads((published / "user_id2pos_neg_group.json").read_text())
    tables: dict[str, tuple[str, dict[str, str]]] = {
        "item": ("item_id", group_of_item),
        "user_liked": ("user_id", {user: str(pair[0]) for user, pair in groups_of_user.items()}),
        "user_disliked": ("user_id", {user: str(pair[1]) for user, pair in groups_of_user.items()}),
    }
    for source, (column, groups) in tables.items():
        with (folder / f"groups_{source}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([column, "group_id"])
            writer.writerows(groups.items())
