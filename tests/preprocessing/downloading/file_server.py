"""A real HTTP server on loopback that serves files, with ranges, well or badly."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `files` by path.

    Attributes:
      files: path, e.g. "/a.zip" -> content.
      headers: path -> headers sent beside the content, e.g. Content-Encoding.
      cuts: path -> bytes after which the next answers end, one number an answer.
      statuses: path -> status of the next answers.
      ranges: False ignores Range, as some servers do.
      seen: path and Range header of every request, in order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.ranges = True
        self.validators = True
        self.seen: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def add(self, name: str, content: bytes, md5: str | None = None) -> None:
        """Serves a file, with an .md5 file as GroupLens writes it."""
        self.files[f"/{name}"] = content
        if md5 is not None:
            self.files[f"/{name}.md5"] = f"MD5 ({name}) = {md5}\n".encode()

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
                asked = self.headers.get("Range")
                server.seen.append((self.path, asked))
                content = server.files.get(self.path)
                status = server.statuses[self.path].pop(0) if server.statuses.get(self.path) else 0
                if content is None or status:
                    self.send_error(status or 404)
                    return
                tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
                start = 0
                fresh = self.headers.get("If-Range") in (None, tag)
                if asked and fresh and server.ranges:
                    start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                    self.send_response(206)
                    end = len(content) - 1
                    self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
                else:
                    self.send_response(200)
                if server.validators:
                    self.send_header("ETag", tag)
                for name, value in server.headers.get(self.path, {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                cut = server.cuts[self.path].pop(0) if server.cuts.get(self.path) else None
                with suppress(OSError):  # the client may have seen enough
                    self.wfile.write(content[start:][:cut])

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        return Handler


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
