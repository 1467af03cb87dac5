from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.openai_connection import ApiKey, require_address

SECTION = "knowledge.encoder"


@pytest.mark.parametrize(
    "address", ["http://localhost:8000/v1", "https://api.example.org", "http://[::1]:8000"]
)
def test_an_address_is_enough(address, monkeypatch):
    monkeypatch.delenv("TOY_KEY", raising=False)
    require_address(SECTION, address, "TOY_KEY")


def test_openai_needs_a_key(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "sk-1")
    require_address(SECTION, None, "TOY_KEY")
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(ConfigurationError, match="encoder.api_key_variable.*TOY_KEY is empty"):
        require_address(SECTION, None, "TOY_KEY")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:8000", "write one such as http"),
        ("ftp://example.org", "write one such as http"),
        ("http://[x/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://]/v1", "is no address"),
        ("http://localhost:port/v1", "is no address"),
        ("http://localhost:99999/v1", "is no address"),
        ("http://local host/v1", "is no address"),
        ("http://local\nhost/v1", "is no address"),
        (f"http://{'x' * 64}.org/v1", "is no address"),
        ("http:///v1", "is no address"),
        ("http://me:secret@example.org/v1", "must not hold a password"),
        ("https://example.org/v1?key=secret", "must not hold a password or a query"),
    ],
)
def test_other_addresses_are_refused_without_showing_a_secret(address, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        require_address(SECTION, address, "TOY_KEY")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", None])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(address, monkeypatch):
    for key in ("sk-secret\n2", "sk secret", "sk-secret\x07", "sk-secrét"):
        monkeypatch.setenv("TOY_KEY", key)
        with pytest.raises(ConfigurationError, match=r"api_key_variable: .* TOY_KEY") as raised:
            require_address(SECTION, address, "TOY_KEY")
        assert "secr" not in str(raised.value)


def test_white_space_around_a_key_is_none_of_it(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "  sk-secret\r\n")
    key = ApiKey.from_environment(SECTION, "TOY_KEY")
    assert key is not None and key.value == "sk-secret" and "secret" not in repr(key)
    monkeypatch.setenv("TOY_KEY", " \n")
    assert ApiKey.from_environment(SECTION, "TOY_KEY") is None
