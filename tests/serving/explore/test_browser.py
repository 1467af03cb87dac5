"""The pages in a browser: Debian's Chromium, driven by Playwright and judged by axe."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import uvicorn

from serving.explore.app import explorer_app
from serving.explore.session import Session
from tests.ports import free_ports

pytestmark = pytest.mark.slow

AXE = "axe-core@4.11.0"
WIDE, PHONE = 1300, 390
ADDRESSES = {
    "ranking": "/ranking?user=u3",
    "why": "/ranking?user=u3&why=1&candidates=all",
    "typed history": "/ranking?edited=1&item=1&rating=5",
    "item": "/item?id=2&prompt=show",
    "user": "/user?id=u1&prompt=show",
    "winners and losers": "/moved?by=item.genres&group=Drama",
    "map": "/map?left=0&right=600&top=0&bottom=600",
    "quality": "/quality?source=item",
    "quality of links": "/quality?source=links",
    "versions": "/versions",
    "search": "/search?q=film",
    "error": "/item?id=nothing",
}


@pytest.fixture(scope="session")
def site(session: Session) -> Iterator[str]:
    """The address of a server of the pages."""
    with free_ports(1) as (port,):
        config = uvicorn.Config(explorer_app(session, "127.0.0.1"), port=port, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
    address = f"http://127.0.0.1:{port}"
    # The first ranking compiles all models; no page of a test is to wait for that.
    assert requests.get(f"{address}/ranking", timeout=300).status_code == 200
    yield address
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, site: str) -> Iterator[OpenPage]:
    """Opens an address; what the browser asks of others, or complains of, fails the test."""
    contexts, complaints = [], []

    def opened(address: str, width: int = WIDE, scheme: str = "light") -> Any:
        viewport = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)

        def heed_request(request: Any) -> None:
            if not request.url.startswith(f"{site}/"):
                complaints.append(f"asks for {request.url}")

        def heed_message(message: Any) -> None:
            # Chromium and htmx report the status of a page that says that there is nothing.
            is_status = re.search(r"(status of|Status Error Code) 4", message.text)
            if message.type in ("error", "warning") and not is_status:
                complaints.append(message.text)

        page.on("request", heed_request)
        page.on("console", heed_message)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe, which npm fetches."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm, which fetches axe (Debian: apt-get install npm)")
    folder = tmp_path_factory.mktemp("axe")
    packed = subprocess.run(
        [npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if packed.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {packed.stderr.strip()[-200:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as file:
        script = file.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def violations(page: Any, axe: str) -> list[str]:
    # A script element would have to be allowed by the content security policy.
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:120]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
@pytest.mark.parametrize("name", ADDRESSES)
def test_pages_are_accessible_and_fit(
    open_page: OpenPage, axe: str, name: str, width: int, scheme: str
) -> None:
    page = open_page(ADDRESSES[name], width, scheme)
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_keys_search_and_move_through_rows(open_page: OpenPage) -> None:
    page = open_page(ADDRESSES["ranking"])
    page.keyboard.press("/")
    page.keyboard.type("film 2")
    page.wait_for_selector("#found [data-row]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/item?id=2")
    page.go_back()
    focused = "document.activeElement.closest('tr')?.querySelector('a').textContent"
    rows = page.locator("main tbody tr td:first-child a").all_text_contents()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate(focused) == rows[1]
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate(focused) == rows[1]
    page.keyboard.press("Enter")
    page.wait_for_url("**why=*")
    assert rows[1] in page.locator("#why-title").text_content()
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.locator("#q").input_value() == "jk"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body")


def test_an_edited_rating_ranks_anew_in_place(open_page: OpenPage) -> None:
    page = open_page(ADDRESSES["ranking"])
    page.evaluate("window.stays = true")
    before = page.locator("main tbody").inner_text()
    first = page.locator("#entry_1")
    first.fill("0.5" if first.input_value() != "0.5" else "5")
    page.keyboard.press("Tab")
    page.wait_for_url("**edited=1*")
    page.wait_for_selector("text=as it was")
    after = page.locator("main tbody").inner_text()
    assert after != before and page.evaluate("window.stays")
    page.reload()
    assert page.locator("main tbody").inner_text() == after
    entries = page.locator("ol.history li").count()
    page.locator("[name=add]").fill("Film 1")
    page.keyboard.press("Tab")
    # The rating of what is added can still be given.
    page.wait_for_timeout(600)
    page.keyboard.type("3")
    assert page.locator("[name=add]").input_value() == "Film 1"
    page.keyboard.press("Enter")
    page.wait_for_selector(f"text={entries + 1} entries")
    assert page.locator("ol.history li").first.inner_text().strip() == "Film 1"
    assert page.locator("#entry_1").input_value() == "3"


def test_another_user_is_shown_in_place(open_page: OpenPage) -> None:
    page = open_page(ADDRESSES["ranking"])
    page.locator("#user").fill("u4")
    page.keyboard.press("Tab")
    page.wait_for_selector("h1:has-text('user u4')")
    assert page.title().startswith("Ranking for user u4")
    page.locator("#user").fill("u4")
    page.locator("[name=add]").fill("nothing of this name")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=no item has the id or a title like")


def test_the_mouse_selects_on_the_map(open_page: OpenPage) -> None:
    page = open_page("/map?source=links")
    box = page.locator("svg.map").bounding_box()
    corners = [
        (box["x"] + share * box["width"], box["y"] + share * box["height"]) for share in (0.1, 0.9)
    ]
    page.mouse.move(*corners[0])
    page.mouse.down(button="right")
    page.mouse.up(button="right")
    page.mouse.down()
    page.mouse.move(*corners[1], steps=4)
    assert page.locator("rect.selected").get_attribute("width") not in (None, "0")
    page.mouse.up()
    page.wait_for_url("**left=*")
    query = parse_qs(urlsplit(page.url).query)
    assert query["source"] == ["links"]
    assert abs(int(query["left"][0]) - 100) <= 2 and abs(int(query["bottom"][0]) - 900) <= 2
    assert "samples of the validation part" in page.locator("section").inner_text()
    assert page.locator("section tbody tr").count() == 3


def test_the_request_is_copied(open_page: OpenPage) -> None:
    page = open_page(ADDRESSES["ranking"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("text=Copy as curl")
    page.wait_for_selector("button:has-text('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl --data ") and copied == page.locator("#curl").text_content()
