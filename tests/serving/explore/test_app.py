"""Who is answered, how, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from starlette.testclient import TestClient

from serving.__main__ import main
from serving.explore import app
from serving.explore.app import HTMX, HTMX_SHA256, explorer_app
from serving.explore.session import Session
from tests.runs import rich_run, written_run
from tests.serving.explore.conftest import HTML
from tests.serving.exports import exported


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8600", "localhost:8600", "LOCALHOST", "[::1]:8600", "192.168.0.7"]
)
def test_addresses_and_localhost_are_answered(browser: TestClient, host: str) -> None:
    assert browser.get("/search?q=", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8600", "127.0.0.1:x", ""],
)
@pytest.mark.parametrize("path", ["/search?q=", "/static/explore.css"])
def test_other_names_are_refused(browser: TestClient, host: str, path: str) -> None:
    response = browser.get(path, headers={"Host": host})
    assert response.status_code == 421 and "film" not in response.text.lower()
    assert response.headers["Content-Security-Policy"]


def test_a_name_that_was_given_as_host_is_answered(session: Session) -> None:
    with TestClient(explorer_app(session, "Workstation"), "http://workstation:8600") as client:
        assert client.get("/search?q=").status_code == 200


@pytest.mark.parametrize("path", ["/search?q=", "/static/explore.css", "/nowhere", "/item?id=x"])
def test_every_answer_has_the_security_headers(browser: TestClient, path: str) -> None:
    headers = browser.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_of_a_failure_has_the_security_headers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(session.data, "items")
    app = explorer_app(session, "127.0.0.1")
    client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
    response = client.get("/search?q=x")
    assert response.status_code == 500 and "AttributeError" in response.text
    assert response.headers["Content-Security-Policy"] and "Traceback" not in response.text


def test_a_part_without_samples_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["explore", "runs/any", "--part", "none"])
    assert stopped.value.code == 2 and "--part" in capsys.readouterr().err


def test_the_start_page_is_the_ranking(browser: TestClient) -> None:
    assert browser.get("/").url.path == "/ranking"


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("/item?id=nothing", 404, "there is no item 'nothing' among the"),
        ("/item", 404, "there is no item ''"),
        ("/user?id=nobody", 404, "user 'nobody' has no samples in the validation part"),
        ("/ranking?user=nobody", 404, "user 'nobody' has no samples"),
        ("/ranking?why=nothing", 404, "there is no item 'nothing'"),
        ("/ranking?edited=1&add=+zzz+", 404, "no item has the id or a title like 'zzz'"),
        (
            "/ranking?edited=1&item=1&rating=good",
            400,
            "rating: expected a number. Received: 'good'",
        ),
        ("/ranking?edited=1&item=1&rating=nan", 400, "rating: expected a number"),
        ("/ranking?sort=9", 400, "sort: expected a whole number from 0 to 2. Received: '9'"),
        ("/ranking?candidates=x", 400, "candidates: expected later or all"),
        ("/moved?by=x", 404, "there is no slice 'x'; there are user_activity"),
        ("/moved?group=x", 404, "the slice item_popularity has no group 'x'"),
        ("/map?source=x", 400, "source: expected links or item"),
        ("/map?left=-1&right=5", 400, "left: expected a whole number from 0 to 1000"),
        ("/quality?source=../../etc", 400, "source: expected"),
        ("/nowhere", 404, "Not Found"),
        ("/static/../app.py", 404, "Not Found"),
        ("/static/%2e%2e/app.py", 404, "Not Found"),
        ("/static/..%2f..%2f..%2fetc%2fpasswd", 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_said(
    browser: TestClient, address: str, status: int, message: str
) -> None:
    response = browser.get(address)
    assert response.status_code == status
    assert message in response.text.replace("&#39;", "'")


def test_html_in_titles_and_addresses_is_text(browser: TestClient, session: Session) -> None:
    row = session.data.items.row_of["1"]
    title = session.data.items.titles[row]
    session.data.items.titles[row] = HTML
    try:
        for address in ("/item?id=1", "/ranking?edited=1&item=1&rating=5", "/search?q=1"):
            text = browser.get(address).text
            assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    finally:
        session.data.items.titles[row] = title
    for address in (f"/item?id={HTML}", f"/search?q={HTML}", f"/user?id={HTML}", f"/{HTML}"):
        assert "<script>alert" not in browser.get(address).text


PARAMETERS = {
    "/ranking": "user edited of item rating add add_rating why sort candidates",
    "/item": "id prompt",
    "/user": "id prompt",
    "/moved": "by group to",
    "/map": "source colour left right top bottom",
    "/quality": "source",
    "/versions": "before after",
    "/search": "q",
}
VALUES = (
    *("", "1", "-1", "7", "9" * 30, "u3", "film", "later", "all", "links", "item", "show", "year"),
    *("é", "٣", "nan", "1e400", "%00", "%0a", "%ff", "%ed%a0%80", "%F0%9F%92%A9", "a" * 5000),
)


def test_any_address_is_answered_alike_by_threads_and_alone(session: Session) -> None:
    random = np.random.default_rng(5)

    def drawn(path: str, names: list[str]) -> str:
        chosen = (random.choice(names) for _ in range(random.integers(6)))
        return f"{path}?{'&'.join(f'{name}={random.choice(VALUES)}' for name in chosen)}"

    addresses = [drawn(path, names.split()) for path, names in PARAMETERS.items() for _ in range(6)]
    # Nothing is computed yet.
    opened = Session([session.rankers[0], session.rankers[2]], session.data, session.part)
    with (
        TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1:8600") as client,
        ThreadPoolExecutor(4) as pool,
    ):
        together = list(pool.map(client.get, addresses))
        for address, response in zip(addresses, together, strict=True):
            assert response.status_code in (200, 400, 404), address
            assert response.text == client.get(address).text, address


def test_only_reading_is_possible(browser: TestClient) -> None:
    assert browser.post("/ranking").status_code == 405


def test_htmx_is_the_file_that_was_released() -> None:
    contents = (Path(app.__file__).parent / "static" / HTMX).read_bytes()
    assert hashlib.sha256(contents).hexdigest() == HTMX_SHA256


def test_one_model_alone_says_what_to_compare_it_with(runs: dict[str, Path]) -> None:
    alone = Session.open(runs["ridge"], [], None, "validation")
    with TestClient(explorer_app(alone, "127.0.0.1"), "http://127.0.0.1") as client:
        response = client.get("/moved")
        assert response.status_code == 409 and "--compare RUN" in response.text
        assert client.get("/ranking").status_code == 200


def damaged_export(folder: Path) -> Path:
    version = Path(shutil.copytree(exported("din", "ridge").path, folder / "1"))
    (version / "saved_model.pb").write_bytes(b"cut off")
    return version


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["/nowhere/run"], 2, "/nowhere/run"),
        (["EXPORT"], 2, "an export does not know its data; name the scenario with --config"),
        (["RUN", "--compare", "OTHER"], 2, "over one work directory only"),
        (["RETRIEVAL"], 2, "a model of kind 'retrieval' cannot be explored"),
        (["RUN", "--part", "train"], 2, "--part"),
        (["RUN", "--host", "no.such.host.invalid"], 1, "cannot be listened on"),
        (["RUN", "--host", "a" * 64], 1, "cannot be listened on"),
        (["RUN", "--port", "TAKEN"], 1, "choose another port"),
        (["EXPORT", "--host", "0.0.0.0"], 2, "everybody who reaches --host 0.0.0.0 can read"),
        (["DAMAGED"], 1, "TensorFlow cannot load the SavedModel"),
    ],
)
def test_wrong_wishes_end_with_the_fix(
    words: list[str],
    code: int,
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    named = {
        "RUN": lambda: runs["ridge"],
        "OTHER": lambda: written_run("din", "none").folder.path,
        "EXPORT": lambda: exported("din", "ridge").base,
        "RETRIEVAL": lambda: rich_run("two_tower").folder.path,
        "DAMAGED": lambda: damaged_export(tmp_path),
        "TAKEN": lambda: taken.getsockname()[1],
    }
    words = [str(named[word]()) if word in named else word for word in words]
    words = [*words, *([] if "--port" in words else ["--port", "0"])]
    try:
        with taken:
            actual = main(["explore", *words])
    except SystemExit as stop:
        actual = int(stop.code or 0)
    assert actual == code and message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_pages_until_it_is_stopped(
    runs: dict[str, Path], repository_root: Path
) -> None:
    program = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving", "explore", str(runs["ridge"])),
            *("--compare", str(runs["none"]), "--port", "0", "--json"),
        ],
        cwd=repository_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    try:
        assert program.stdout is not None
        ready = json.loads(program.stdout.readline())
        assert ready["models"] == ["none", "ridge"]
        response = requests.get(ready["url"], timeout=60)
        assert response.status_code == 200 and "candidates" in response.text
    finally:
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 0 and f"open {ready['url']}" in errors


def test_an_export_is_explored_with_the_scenario_of_its_data() -> None:
    base = exported("din", "ridge").base
    config = Path(exported("din", "ridge").run.folder.config)
    opened = Session.open(base, [], config, "validation")
    assert opened.rankers[0].name == f"{base.name}/1" and list(opened.versions) == [1]
    with TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1") as client:
        assert "has version 1 only" in client.get("/versions").text
        assert "model reads" in client.get("/ranking?user=u3&why=1").text
