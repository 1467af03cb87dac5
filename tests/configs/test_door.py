from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import configs.doctor
from configs.__main__ import main
from configs.completion import SHELLS
from configs.doctor import CheckResult
from configs.loading import load_section
from configs.prompting import Generation
from configs.scenario import Scenario
from configs.schema import editor_schema
from tests.waiting import LONGEST_SECONDS

CONFIG = "configs/movielens_small.yaml"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_show_prints_a_scenario_file_with_all_keys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, "show", "--config", CONFIG, "training.seed=7")
    assert (code, err) == (0, "")
    (tmp_path / "shown.yaml").write_text(out, encoding="utf-8")
    shown = load_section(Scenario, tmp_path / "shown.yaml")
    assert shown == load_section(Scenario, CONFIG, ["training.seed=7"])
    assert "knowledge_history_cap: 30" in out and "\n  patience: 2\n" in out
    code, out, _ = run(capsys, "show", "--config", CONFIG, "--json")
    assert json.loads(out) == load_section(Scenario, CONFIG).model_dump(mode="json")


def test_schema_goes_to_stdout_or_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "schema")
    assert code == 0 and json.loads(out) == json.loads(json.dumps(editor_schema()))
    file = tmp_path / "schema.json"
    code, out, _ = run(capsys, "schema", "--out", file)
    assert (code, out) == (0, "") and json.loads(file.read_text()) == json.loads(
        json.dumps(editor_schema())
    )


class Models(BaseHTTPRequestHandler):
    """The list of models of an OpenAI-compatible endpoint that wants the key `secret`."""

    def do_GET(self) -> None:  # noqa: N802
        is_allowed = self.headers["Authorization"] == "Bearer secret"
        self.send_response(200 if self.path == "/v1/models" and is_allowed else 401)
        self.end_headers()
        if is_allowed:
            self.wfile.write(json.dumps({"data": [{"id": "small"}, {"id": "large"}]}).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Models) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_doctor_tells_what_is_there_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setattr(configs.doctor, "_ENDPOINT_SECONDS", LONGEST_SECONDS)
    monkeypatch.setattr(configs.doctor, "_LEAST_DISK", 0)  # There may be little on this machine.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["doctor", "--config", CONFIG, "--port", port, "--json"]
        models = [f"generation.base_url={endpoint}", "generation.model=small"]
        code, out, err = run(capsys, *words, *models)
        found = {one["check"]: one for one in json.loads(out)["findings"]}
        assert code == 0 and "secret" not in out + err
        for check in ("Python", "TensorFlow", "libraries", "devices", "disk", "endpoint"):
            assert found[check]["state"] == "ok", found[check]
        assert "TF_USE_LEGACY_KERAS=1" in found["TensorFlow"]["found"]
        assert found["endpoint"]["found"] == f"{endpoint}, 2 models"
        assert found[f"port {port}"]["state"] == "warning"
        assert "--grpc-port" in found[f"port {port}"]["fix"]

    code, out, err = run(capsys, *words, models[0], "generation.model=absent")
    assert code == 0 and "small, large" in err
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    code, out, err = run(capsys, *words, *models)
    assert code == 1 and "OPENAI_API_KEY to a valid key" in err
    assert "to be repaired first: endpoint" in err and json.loads(out)["findings"]
    code, _, err = run(capsys, *words, "generation.base_url=http://127.0.0.1:1/v1")
    assert code == 1 and "no list of models" in err and "look at generation.base_url" in err


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_doctor_asks_for_a_port_that_there_may_be(
    capsys: pytest.CaptureFixture[str], port: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "doctor", f"--port={port}")
    assert f"from 0 to 65535. Received: '{port}'" in capsys.readouterr().err


def test_doctor_says_that_a_proxy_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nowhere://127.0.0.1:1")
    found = configs.doctor._endpoint(Generation(base_url="http://127.0.0.1:1/v1"))
    assert found.state == "error" and "cannot be asked" in found.found and "ALL_PROXY" in found.fix


@pytest.mark.parametrize("client", ["replay", "batch-file", "gguf"])
def test_doctor_asks_no_endpoint_that_is_not_used(
    client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        configs.doctor, "_tensorflow", lambda: CheckResult("x", "error", "left out")
    )
    found = [one.check for one in configs.doctor.examine(tmp_path, (), Generation(client=client))]
    assert "disk" in found and "endpoint" not in found


@pytest.mark.parametrize(
    ("key", "address", "says"),
    [
        ("hidden", "http://me:hidden@{}", "generation.base_url: must not hold a password"),
        ("hidden", "http://{}?key=hidden", "generation.base_url: must not hold a password"),
        ("hidden", "http://{}/my v1", "generation.base_url: is no address; write one such as"),
        ("hidden\nhidden", "http://{}", "has white space, control or non-ASCII characters"),
        ("hidden-key", "http://{}/moved", "the address has moved to http://localhost:"),
        ("hidden-key", "http://{}/odd", "no list of models (malformed_response: "),
    ],
    ids=["password", "query", "no address", "two keys", "redirection", "no JSON"],
)
def test_doctor_shows_a_key_to_nobody(
    key: str, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr(configs.doctor, "_ENDPOINT_SECONDS", LONGEST_SECONDS)
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_response(302 if "moved" in self.path else 200)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/models")
            self.end_headers()
            self.wfile.write(b"Bearer hidden-key")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        settings = Generation(base_url=address.format(place), model="small")
        found = configs.doctor._endpoint(settings)
        server.shutdown()
    assert found.state == "error" and says in f"{found.found}; {found.fix}"
    assert "hidden" not in f"{found}"
    assert len(asked) == (1 if key == "hidden-key" else 0)


def test_doctor_finds_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs.doctor, "_LIBRARIES", ("pydantic", "no-such-package"))
    monkeypatch.setattr(configs.doctor, "_OLDEST_PYTHON", (99, 0))
    monkeypatch.setattr(configs.doctor, "_LEAST_DISK", 1e30)
    code, out, err = run(capsys, "doctor", "--port", 0, "--json")
    states = {one["check"]: one["state"] for one in json.loads(out)["findings"]}
    assert code == 1 and states["Python"] == states["libraries"] == "error"
    assert states["disk"] == "warning"
    assert "not installed: no-such-package; run 'make setup'" in err


@pytest.mark.parametrize("program", ["preprocessing", "trainer", "serving", "configs"])
def test_version_and_system_python(program: str, repository_root: Path) -> None:
    command = [sys.executable, "-m", program, "--version"]
    shown = subprocess.run(command, cwd=repository_root, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "") and shown.stdout.startswith("reki 0.")
    # Without its site packages, an interpreter is like the one of the system.
    bare = [sys.executable, "-S", *command[1:]]
    refused = subprocess.run(bare, cwd=repository_root, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "use .venv/bin/python" in refused.stderr


COMPLETED = [
    ("python -m trainer tr", "train"),
    ("python -m trainer train --dr", "--dry-run"),
    ("python -m trainer evaluate RUN --part v", "validation"),
    ("python -m trainer train --config x training.pat", "training.patience="),
    ("python -m trainer train --config x model.match = r", "ridge"),
    ("python -m trainer train --config conf", ""),
    ("python -m http.server 80", ""),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_keys_and_values(
    shell: str, repository_root: Path
) -> None:
    script = subprocess.run(
        [sys.executable, "-m", "trainer", "--completion", shell],
        cwd=repository_root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert ("bashcompinit" in script) is (shell == "zsh")
    if shell == "zsh":
        script = script.partition("\n")[2]
    for words, completed in COMPLETED:
        ask = f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _reki"
        code = f'{script}\n{ask}\necho "${{COMPREPLY[*]}}"'
        found = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        assert found.stdout == f"{completed}\n", (words, found.stderr)


def test_output_that_nobody_reads_to_its_end_is_no_error(repository_root: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody_reads:
        done = subprocess.run(
            [sys.executable, "-m", "configs", "schema"],
            cwd=repository_root, stdout=nobody_reads, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
