"""The documents: what is made from the code is whole, pages are reached, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import serving.client
from configs.loading import ConfigurationError, described_keys, load_scenario
from docs import generated_reference, notebooks
from docs.generated_reference import PROGRAMS
from preprocessing.records.contract import EXAMPLE_FEATURES, KNOWLEDGE_FEATURES

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCED = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}.*$", flags=re.MULTILINE)


def test_every_key_of_a_scenario_is_listed() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", generated_reference.configuration(), re.MULTILINE)
    assert sorted(listed) == sorted(described_keys())


@pytest.mark.parametrize(
    "row",
    [
        "| `model.attention_history_length` | whole number from 1 | `30` | ",
        "| `model.hein.dropout_rate` | number from 0 below 1 | `0` | ",
        "| `model.hein.training_precision` | one of float32, bfloat16 | `float32` | ",
        "| `model.hein.expert_units` | list of: whole number above 0 | `[128, 32]` | ",
        "| `knowledge.answers.<name>.entity` | one of item, user | required | ",
    ],
)
def test_values_and_default_of_a_key(row: str) -> None:
    assert row in generated_reference.configuration()


def test_every_command_and_option_is_listed() -> None:
    contract = json.loads((ROOT / "tests/e2e/command_contract.json").read_text(encoding="utf-8"))
    text = generated_reference.commands()
    parts = {
        name.removeprefix("options of ") for name in contract if name.startswith("options of ")
    }
    assert parts == {*PROGRAMS}
    for program in PROGRAMS:
        for command, options in contract[f"options of {program}"].items():
            section = text.split(f"### `{program} {command}`\n")[1].split("\n### ")[0]
            listed = re.findall(r"^\| `(--[a-z0-9-]+)", section, re.MULTILINE)
            mentioned = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", section)
            assert {"--help", *mentioned} == {*options}, (program, command)
            assert {*options} - {*listed} <= {"--help", "--strict"}, (program, command)


def test_every_feature_is_listed() -> None:
    text = generated_reference.records()
    for feature in (*EXAMPLE_FEATURES, *KNOWLEDGE_FEATURES):
        assert f"| `{feature.name}` | `{feature.type.value}`, " in text


def test_messages_are_listed_with_what_is_put_into_them_left_out(tmp_path: Path) -> None:
    text = generated_reference.errors()
    assert "| `'log' and 'step' exclude each other` | `configs/experiment.py` |" in text
    (path := tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(path)
    assert f"| `{str(caught.value).replace(str(path), '…')}` | `configs/loading.py` |" in text
    assert [line for line in text.splitlines() if line.startswith("## From ")] == [
        f"## From `{room}`" for room in ("configs", "preprocessing", "models", "trainer", "serving")
    ]
    assert "`duplicate_custom_id`" not in text


def test_api_has_signatures_and_lists() -> None:
    text = generated_reference.api()
    assert "read_knowledge(\n    directory: str | Path,\n    source: str,\n" in text
    assert "\n    with_folds: bool = True,\n" in text
    assert '\n- `source`: name of the source, e.g. "item".\n' in text
    assert "\n#### `KnowledgeTable.rows`\n\n```python\nrows(ids: tf.Tensor) -> tf.Tensor\n" in text
    assert "### `RankingClient`\n" in text
    assert "It has what `RankingClientBase`, above, has.\n" in text
    assert "\n#### `RankingClientBase.rank`\n" in text
    assert text.count("```") % 2 == 0


def test_api_has_all_that_clients_import() -> None:
    listed = {name for names in generated_reference.API.values() for name in names}
    assert {*serving.client.__all__} <= listed


def test_a_page_asks_for_what_there_is() -> None:
    filled = generated_reference.filled("before\n<!-- made: records -->\nafter")
    assert filled == f"before\n{generated_reference.records()}\nafter"
    with pytest.raises(KeyError, match="recrods"):
        generated_reference.filled("<!-- made: recrods -->")


def test_every_page_is_in_one_table_of_contents() -> None:
    entries: Counter[Path] = Counter()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    # Bazel's files are links: their real paths lie elsewhere.
                    found = [
                        Path(os.path.normpath(path)) for path in page.parent.glob(f"{line}.md")
                    ]
                    assert found, f"{page}: {line}"
                    entries.update(found)
    assert entries == Counter(path for path in PAGES if path != ROOT / "docs/index.md")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, by GitHub's rule."""
    text = FENCED.sub("", generated_reference.filled(page.read_text(encoding="utf-8")))
    slugs: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        found.add(f"{slug}-{slugs[slug]}" if slugs[slug] else slug)
        slugs[slug] += 1
    return found


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = INDENTED.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("lesson", notebooks.LESSONS)
def test_a_notebook_has_all_of_its_page(lesson: str) -> None:
    page = (notebooks.FOLDER / f"{lesson}.md").read_text(encoding="utf-8")
    cells = notebooks.notebook(page)["cells"]
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    shown = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    indented = [line[4:] for line in INDENTED.findall(FENCED.sub("", page))]
    commands = [line for line in indented if re.match(r"(mkdir|zcat|python|PYTHONPATH=)", line)]
    assert commands
    for line in commands:
        assert f"\n{line}\n" in f"\n{code}\n", line
    for block in FENCED.findall(page):
        body = block.split("\n", 1)[1].removesuffix("```").strip("\n")
        assert body in code, block
    for heading in re.findall(r"^#+ .*$", page, re.MULTILINE):
        assert heading in shown
    assert "```" not in code and "](../" not in shown


def test_cells_of_a_notebook() -> None:
    page = """\
# Lesson

Text with a [link](../data.md) and [another](https://example.org). Save as `out/tutorial/a.yaml`:

```yaml
a: 1
```

    python -m trainer train
    python -m serving serve --model films=out/export --rest-port 8501
    python -m serving predict --model films

It prints:

    done

Add this to `out/tutorial/a.yaml`:

```yaml
b: 2
```
"""
    cells = notebooks.notebook(page)["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells if cell["id"] != "cell-2"] == [
        (
            "markdown",
            "# Lesson\n\nText with a link and [another](https://example.org). Save as "
            "`out/tutorial/a.yaml`:",
        ),
        ("code", "%%writefile out/tutorial/a.yaml\na: 1"),
        ("code", "%%bash\npython -m trainer train"),
        (
            "code",
            "%%bash --bg\npython -m serving serve --model films=out/export --rest-port 8501",
        ),
        (
            "code",
            "%%bash\nuntil curl --silent --fail http://127.0.0.1:8501/v1/models/films; "
            "do sleep 1; done",
        ),
        ("code", "%%bash\npython -m serving predict --model films"),
        ("markdown", "It prints:"),
        ("markdown", "    done"),
        ("markdown", "Add this to `out/tutorial/a.yaml`:"),
        ("code", "%%writefile -a out/tutorial/a.yaml\nb: 2"),
    ]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    build = ROOT / ".venv-docs/bin/sphinx-build"
    if not build.exists():
        pytest.skip("make docs has not been run: .venv-docs is missing")
    command = [build, "-W", "--keep-going", "--quiet", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference/configuration.html").read_text(encoding="utf-8")
    assert "data.history_length" in page
    assert "history_length" in (tmp_path / "searchindex.js").read_text(encoding="utf-8")
    # The build validates them by nbformat.
    for lesson in notebooks.LESSONS:
        link = f'<a href="../notebooks/{lesson}.ipynb" download>'
        assert link in (tmp_path / f"tutorials/{lesson}.html").read_text(encoding="utf-8")
        assert json.loads((tmp_path / f"notebooks/{lesson}.ipynb").read_text(encoding="utf-8"))
