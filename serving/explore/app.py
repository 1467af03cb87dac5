"""The explorer as an ASGI application: pages over a session, for the browser of this machine."""

from __future__ import annotations

import functools
import ipaddress
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.client.errors import RankingError
from serving.explore import knowledge_views, ranking_views
from serving.explore.parameters import Parameters, Values, WrongParameter, address
from serving.explore.session import Session
from serving.explore.work_data import UnknownEntity

_FOLDER = Path(__file__).parent
HTMX = "htmx-2.0.11.min.js"
HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""The one script of others: `dist/htmx.min.js` of the npm package htmx.org (0BSD)."""

View = Callable[[Session, Parameters], Values]

_VIEWS: dict[str, tuple[str, View]] = {
    "/ranking": ("ranking", ranking_views.ranking),
    "/item": ("item", knowledge_views.item),
    "/user": ("user", knowledge_views.user),
    "/moved": ("moved", ranking_views.moved),
    "/map": ("map", knowledge_views.knowledge_map),
    "/quality": ("quality", knowledge_views.quality),
    "/versions": ("versions", ranking_views.versions),
    "/search": ("search", knowledge_views.search),
}
"""Path -> template, and what it shows."""

_NAVIGATION = (
    ("/ranking", "Ranking"),
    ("/moved", "Winners and losers"),
    ("/map", "Map"),
    ("/quality", "Quality"),
    ("/versions", "Versions"),
)

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_LOGGER = logging.getLogger(__name__)


class _Guard:
    """Answers only requests that name this server, and adds the security headers.

    A page of another site can make a name of its own point to this machine (DNS rebinding) and then
    read what the explorer shows. It cannot do so with an address or with `localhost`.
    """

    def __init__(self, app: ASGIApp, host: str):
        self._app = app
        self._own_name = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._app
        if not self._is_own(Headers(scope=scope).get("host", "")):
            app = PlainTextResponse(
                "This server answers requests to its address or to localhost only.",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        await app(scope, receive, send_guarded)

    def _is_own(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name, _, port = name[1:].partition("]")
            port = port.removeprefix(":")
        else:
            name, _, port = name.partition(":")
        if port and not (port.isascii() and port.isdecimal()):
            return False
        if name in ("localhost", self._own_name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def explorer_app(session: Session, host: str) -> ASGIApp:
    """The application.

    Args:
      session: what is opened.
      host: name or address that the server listens on; requests may name it.
    """
    pages = _Pages(session)
    routes = [
        Route("/", _start),
        *(
            Route(path, functools.partial(pages.show, path, template, view))
            for path, (template, view) in _VIEWS.items()
        ),
        Mount("/static", StaticFiles(directory=_FOLDER / "static")),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: pages.not_found, Exception: pages.failed},
    )
    # Around everything, so that the page of a failure has the headers, too.
    return _Guard(app, host)


def _start(request: Request) -> Response:
    return RedirectResponse("/ranking")


def _breaks(name: str) -> Markup:
    """A name that may be broken behind its underlines."""
    return Markup("_<wbr>").join(name.split("_"))


class _Pages:
    """Renders views, and their errors as pages."""

    def __init__(self, session: Session):
        self._session = session
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"address": address, "htmx": HTMX}
        self._environment.filters |= {"signed": lambda value: f"{value:+.4f}", "breaks": _breaks}

    def show(self, path: str, template: str, view: View, request: Request) -> Response:
        """Answers one request; it runs in a thread of its own."""
        try:
            values = view(self._session, Parameters(request.query_params))
        except (CommandError, ConfigurationError, OSError, RankingError) as error:
            return self._error(path, error)
        is_fragment = template == "search" and "hx-request" in request.headers
        return self._rendered("found" if is_fragment else template, path, values)

    def not_found(self, request: Request, error: Exception) -> Response:
        """The page of an address that there is none of."""
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
        values = {"message": f"{HTTPStatus(status).phrase}.", "title": "Error"}
        return self._rendered("error", request.url.path, values, status)

    def failed(self, request: Request, error: Exception) -> Response:
        """The page of an error in the program, without what it was about."""
        message = f"The page failed: {type(error).__name__}. The terminal says more."
        values = {"message": message, "title": "Error"}
        return self._rendered("error", request.url.path, values, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _error(self, path: str, error: Exception) -> Response:
        status = HTTPStatus.CONFLICT
        if isinstance(error, UnknownEntity):
            status = HTTPStatus.NOT_FOUND
        elif isinstance(error, (WrongParameter, RankingError)):
            status = HTTPStatus.BAD_REQUEST
        elif not isinstance(error, ConfigurationError):
            _LOGGER.error("%s: %s", path, error)
        return self._rendered("error", path, {"message": str(error), "title": "Error"}, status)

    def _rendered(
        self, template: str, path: str, values: Mapping[str, Any], status: int = HTTPStatus.OK
    ) -> Response:
        session = self._session
        text = self._environment.get_template(f"{template}.html.jinja").render(
            path=path,
            navigation=_NAVIGATION,
            rankers=[ranker.name for ranker in session.rankers],
            part=session.part,
            scenario=session.data.scenario.name,
            **values,
        )
        return HTMLResponse(text, status)
