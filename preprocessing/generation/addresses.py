"""Addresses of endpoints, as a configuration names them."""

from __future__ import annotations

import urllib.parse

from configs.loading import ConfigurationError
from preprocessing.generation.api_key import ApiKey


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
