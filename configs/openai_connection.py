"""Calls of an OpenAI-compatible endpoint: its address, its key, and what can go wrong."""

from __future__ import annotations

import base64
import email.utils
import html
import json
import os
import random
import re
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import openai
from typing_extensions import override

from configs.loading import ConfigurationError


class CallFailed(Exception):
    """A call gave no answer.

    Attributes:
      reason: a fixed name that can be counted.
      detail: what happened, without secrets.
      retries: how often the call was repeated.
    """

    retries = 0

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientFailure(CallFailed):
    """The same call may work later.

    Attributes:
      retry_after: seconds the endpoint asks to wait; None if it does not say.
    """

    def __init__(self, reason: str, detail: str, retry_after: float | None = None):
        super().__init__(reason, detail)
        self.retry_after = retry_after


class RequestRefused(CallFailed):
    """This request never works, others may."""


class EndpointUnusable(CallFailed):
    """No request works until a person changes something: key, model name, address, credit."""


class Interrupted(Exception):
    """The run was stopped before the call had an answer."""


STOP_GRACE_SECONDS = 10.0
"""How long calls of an endpoint that are in flight may still take when the run is stopped."""


LONGEST_DELAY_SECONDS = 60.0
"""Upper bound of a backoff delay."""


LONGEST_RETRY_AFTER_SECONDS = 600.0
"""An endpoint that asks for a longer wait fails the call at once."""


Response = TypeVar("Response")


@dataclass(frozen=True)
class Retrying:
    """Delays are drawn from [0, min(60, first_delay * 2^n)) seconds ("full jitter").

    What the endpoint asks for in Retry-After is waited for in full, and the jitter is added, so
    that calls refused together do not come back together.

    Attributes:
      retries: calls after the first one.
      first_delay: upper bound of the first delay, in seconds.
      stop: ends all waiting.
    """

    retries: int
    first_delay: float
    stop: threading.Event

    def call(self, once: Callable[[], Response]) -> tuple[Response, int]:
        """Calls until there is a response.

        Returns:
          The response and the number of retries.

        Raises:
          TransientFailure: retries are used up, or the endpoint asks for too long a wait; its
            detail says how many calls were made.
          Interrupted: the run was stopped between two calls.
        """
        retry = 0
        while True:
            try:
                return once(), retry
            except TransientFailure as failure:
                too_long = (failure.retry_after or 0) > LONGEST_RETRY_AFTER_SECONDS
                if retry == self.retries or too_long:
                    asked = f", told to wait {failure.retry_after:.0f} s" if too_long else ""
                    failure.detail = f"{retry + 1} calls{asked}; {failure.detail}"
                    failure.retries = retry
                    raise
                delay = self.delay(retry, failure.retry_after)
            except CallFailed as failure:
                failure.retries = retry
                raise
            if self.stop.wait(delay):
                raise Interrupted
            retry += 1

    def delay(self, retry: int, retry_after: float | None) -> float:
        """Seconds to wait before retry number `retry`, counted from 0."""
        bound = min(LONGEST_DELAY_SECONDS, self.first_delay * 2.0**retry)
        return (retry_after or 0.0) + random.uniform(0, bound)


def require_address(section: str, base_url: str | None, api_key_variable: str) -> None:
    """Checks where an endpoint is and that there is a key where one is needed.

    Args:
      section: the section with the keys `base_url` and `api_key_variable`, e.g. "generation".
      base_url: the endpoint's address; None for OpenAI, which wants a key.
      api_key_variable: environment variable that holds the key.

    Raises:
      ConfigurationError: OpenAI's key is missing, a key cannot be sent, or the address is none or
        holds a secret.
    """
    key = ApiKey.from_environment(section, api_key_variable)
    if base_url is None:
        if key is None:
            raise ConfigurationError(
                f"{section}.api_key_variable: the environment variable {api_key_variable} is "
                f"empty; put the key there, or name another endpoint in {section}.base_url"
            )
        return
    address = _split(base_url)
    if address is None or address.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{section}.base_url: is no address; write one such as http://localhost:8000/v1, or "
            "http://[::1]:8000/v1"
        )
    if address.username or address.password or address.query:
        raise ConfigurationError(
            f"{section}.base_url: must not hold a password or a query; put the key into the "
            f"environment variable {api_key_variable}"
        )


def _split(address: str) -> urllib.parse.SplitResult | None:
    """The parts of an address; None if it names no host, or host or port cannot be."""
    try:
        parts = urllib.parse.urlsplit(address)
        parts.port  # noqa: B018 (reading it checks it)
        (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    has_gap = any(letter.isspace() or not letter.isprintable() for letter in address)
    return parts if parts.hostname and not has_gap else None


_SHOWN = "[key]"
_VISIBLE_ASCII = re.compile(r"[!-~]+")
# What servers without keys are sent ("none", "EMPTY") is no secret, and may be a word of an answer.
_SHORTEST_SECRET = 6


class ApiKey:
    """A key that is sent as it is and shown as `[key]`.

    Args:
      value: visible ASCII characters. A key of fewer than 6 is a placeholder and is cut out only
        where it stands as `Bearer KEY`.
    """

    def __init__(self, value: str):
        self.value = value
        written = "".join(map(_any_writing_of, value))
        if len(value) >= _SHORTEST_SECRET:
            self._pattern = re.compile("|".join([written, *_encodings(value)]))
        else:
            self._pattern = re.compile(f"(?<=Bearer ){written}")

    def __repr__(self) -> str:
        return f"ApiKey({_SHOWN})"

    @classmethod
    def from_environment(cls, section: str, variable: str) -> ApiKey | None:
        """The key in an environment variable, without white space around it; None if it is empty.

        Args:
          section: the section with the key `api_key_variable`, e.g. "generation".
          variable: the environment variable's name.

        Raises:
          ConfigurationError: no HTTP header can hold it.
        """
        value = os.environ.get(variable, "").strip()
        if not value:
            return None
        if not _VISIBLE_ASCII.fullmatch(value):
            raise ConfigurationError(
                f"{section}.api_key_variable: the key in the environment variable {variable} has "
                "white space, control or non-ASCII characters in it; put the key alone there"
            )
        return cls(value)

    def cut_out_of(self, text: str) -> str:
        """A text with the key, however it is quoted or encoded, replaced by `[key]`."""
        return self._pattern.sub(_SHOWN, text)

    def cut_out_of_document(self, document: Any) -> Any:
        """The same for all texts of parsed JSON."""
        if isinstance(document, str):
            return self.cut_out_of(document)
        if isinstance(document, list):
            return [self.cut_out_of_document(entry) for entry in document]
        if isinstance(document, Mapping):
            return {
                self.cut_out_of(name): self.cut_out_of_document(value)
                for name, value in document.items()
            }
        return document


def _any_writing_of(character: str) -> str:
    """Pattern of a character as it is, or quoted as Python, JSON, URLs and HTML quote it."""
    code = ord(character)
    plain, as_html = re.escape(character), re.escape(html.escape(character))
    return (
        rf"(?:\\{{0,3}}{plain}|{as_html}|(?i:%(?:25)?{code:02x}|\\{{1,8}}(?:u00|x){code:02x}"
        rf"|&#0{{0,7}}{code};|&#x0{{0,7}}{code:x};))"
    )


def _encodings(value: str) -> set[str]:
    """Patterns of a key in hexadecimal and in base64, alone or within a longer text."""
    data = value.encode()
    patterns = {f"(?i:{data.hex()})"}
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        # Of a longer text such as "Bearer KEY", base64 holds the key at one of three offsets; the
        # characters that belong to the key alone are the same whatever stands around it.
        for before in range(3):
            encoded = alphabet(b"\0" * before + data).decode()
            inner = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
            patterns.add(re.escape(inner))
    return patterns


OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"
FORBIDDEN, MALFORMED, TIMEOUT = "http_403", "malformed_response", "timeout"
"""Reasons of failed calls."""
_NEEDS_A_PERSON = {
    401: "the key is wrong or missing",
    403: "the key does not allow this model, or the service refuses what was asked",
    404: "there is no such model or address",
}
_REQUEST_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500
_REDIRECTIONS = range(300, 400)
_STOP_CHECK_SECONDS = 0.2
_LONGEST_DETAIL = 500
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_HEADERS_OF_THE_BODY = frozenset(
    {"content-encoding", "content-length", "content-type", "transfer-encoding"}
)

Result = TypeVar("Result")


class OpenAIConnection:
    """An endpoint; may be called by several threads. Calls once, never again by itself.

    Args:
      base_url: its address; None for OpenAI.
      api_key: the key; None for endpoints that want none. Cut out of everything that comes back.
      timeout_seconds: of one call, from connecting to the last byte of the response.
      most_bytes: a longer response, also after decompression, is a failure.
      stop: when it is set, calls in flight have `STOP_GRACE_SECONDS` left; None for never.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: ApiKey | None,
        timeout_seconds: float,
        most_bytes: int,
        stop: threading.Event | None = None,
    ):
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._stop = stop or threading.Event()
        self._client = openai.OpenAI(
            base_url=base_url or OPENAI_URL,
            api_key=api_key.value if api_key else _NO_KEY,
            timeout=timeout_seconds,
            max_retries=0,
            http_client=_BoundedClient(timeout_seconds, most_bytes),
        )

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()

    def call(self, send: Callable[[openai.OpenAI], Any], read: Callable[[Any], Result]) -> Result:
        """Calls once.

        Args:
          send: makes the call with a raw response.
          read: takes the parsed JSON; any exception but CallFailed means that it is not what was
            asked for.

        Returns:
          What `read` made of it.

        Raises:
          TransientFailure: 408, 429, 5xx, a timeout, a lost connection or an unreadable response.
          RequestRefused: another 4xx.
          EndpointUnusable: 401, 403, 404, another address, or no credit left.
          Interrupted: the run was stopped and the response did not come in time.
        """
        # A name server, a TLS handshake or headers that come byte by byte can hold a thread for
        # ever. Such a thread is left behind; it keeps no process from ending.
        outcome: Future[Result] = Future()
        threading.Thread(
            target=self._call_in_thread, args=(send, read, outcome), name="request", daemon=True
        ).start()
        end = time.monotonic() + self._timeout_seconds
        stopped = False
        while (left := end - time.monotonic()) > 0:
            if wait([outcome], timeout=min(left, _STOP_CHECK_SECONDS)).done:
                return outcome.result()
            if self._stop.is_set() and not stopped:
                stopped = True
                end = min(end, time.monotonic() + STOP_GRACE_SECONDS)
        if stopped:
            raise Interrupted
        raise self._timeout()

    def _call_in_thread(
        self,
        send: Callable[[openai.OpenAI], Any],
        read: Callable[[Any], Result],
        outcome: Future[Result],
    ) -> None:
        try:
            outcome.set_result(self._call(send, read))
        except BaseException as error:
            outcome.set_exception(error)

    def _call(self, send: Callable[[openai.OpenAI], Any], read: Callable[[Any], Result]) -> Result:
        """Calls once, in whatever time it takes; what it raises names no cause with the key."""
        try:
            document = json.loads(send(self._client).http_response.content)
            if self._api_key:
                document = self._api_key.cut_out_of_document(document)
            return read(document)
        except CallFailed:
            raise
        except (openai.APITimeoutError, _TooSlow):
            raise self._timeout() from None
        except openai.APIConnectionError as error:
            detail = self._without_key(str(error.__cause__ or error))
            raise TransientFailure("connection_failed", detail) from None
        except openai.APIStatusError as error:
            raise self._failure_of(error) from None
        # Headers, encodings and bodies come from outside: whatever is odd about one response is
        # the failure of its call alone.
        except Exception as error:
            detail = self._without_key(str(error) or type(error).__name__)
            raise TransientFailure(MALFORMED, detail) from None

    def _timeout(self) -> TransientFailure:
        return TransientFailure(TIMEOUT, f"no response within {self._timeout_seconds:g} s")

    def _failure_of(self, error: openai.APIStatusError) -> CallFailed:
        status = error.status_code
        detail = self._without_key(f"HTTP {status}: {error.message}")
        if status in _NEEDS_A_PERSON:
            return EndpointUnusable(f"http_{status}", f"{_NEEDS_A_PERSON[status]} ({detail})")
        if status in _REDIRECTIONS:
            target = self._without_key(error.response.headers.get("location", "nowhere"))
            return EndpointUnusable(f"http_{status}", f"the address has moved to {target}")
        if error.code == "insufficient_quota":
            return EndpointUnusable("no_credit", detail)
        retry_after = seconds_of(error.response.headers.get("retry-after"))
        if status == _TOO_MANY_REQUESTS:
            return TransientFailure("rate_limited", detail, retry_after)
        if status == _REQUEST_TIMEOUT or status >= _FIRST_SERVER_ERROR:
            return TransientFailure("server_error", detail, retry_after)
        return RequestRefused(f"http_{status}", detail)

    def _without_key(self, text: str) -> str:
        text = self._api_key.cut_out_of(text) if self._api_key else text
        return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}..."


class _UnreadableBody(Exception):
    """A response's body cannot be read; the message says why."""


class _TooSlow(Exception):
    """A response's body takes longer than a call may."""


class _BoundedClient(openai.DefaultHttpxClient):
    """Reads every response whole, within bounds of time and size, as UTF-8 JSON.

    Redirections are not followed: the body would be read without bounds, and the key would go to an
    address that nobody named.
    """

    def __init__(self, seconds: float, most_bytes: int):
        super().__init__(
            timeout=seconds, follow_redirects=False, headers={"Accept-Encoding": "gzip"}
        )
        self._seconds = seconds
        self._most_bytes = most_bytes

    @override
    def send(self, request: Any, **options: Any) -> Any:
        """The response's body is there."""
        end = time.monotonic() + self._seconds
        response = super().send(request, **{**options, "stream": True})
        try:
            body = self._body_of(response, end)
        finally:
            response.close()
        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in _HEADERS_OF_THE_BODY
        ]
        return type(response)(
            response.status_code,
            headers=[*headers, ("content-type", "application/json")],
            content=body,
            request=request,
        )

    def _body_of(self, response: Any, end: float) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise _UnreadableBody(
                f"the response is compressed by '{encoding}', which was not asked"
            )
        decompressor = None if encoding in ("identity", "") else zlib.decompressobj(_GZIP_OR_ZLIB)
        body = bytearray()
        for chunk in _chunks_of(response):
            if time.monotonic() > end:
                raise _TooSlow
            if decompressor is not None:
                try:
                    chunk = decompressor.decompress(chunk, self._most_bytes - len(body) + 1)
                except zlib.error as error:
                    raise _UnreadableBody(f"the response is not {encoding} ({error})") from error
            body += chunk
            if len(body) > self._most_bytes:
                raise _UnreadableBody(f"the response is longer than {self._most_bytes:,} bytes")
        return bytes(body)


def _chunks_of(response: Any) -> Iterator[bytes]:
    """The body as it comes; a connection that ends in it has perhaps been answered, and billed."""
    try:
        yield from response.iter_raw()
    except Exception as error:
        detail = str(error) or type(error).__name__
        raise _UnreadableBody(f"the response was cut off ({detail})") from error


def seconds_of(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
            seconds = moment.timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, OSError):
            return None
    return seconds if 0 <= seconds < float("inf") else None
