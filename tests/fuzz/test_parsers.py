from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import CORPUS, PARSERS, Parser, tried

_TRIED = 200
_PIECES = (
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"\\", b",", b"::", b"{", b"["),
    *(b"]", b"}", b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0", b'"\\ud800"'),
    *(b"9" * 5000, b"[" * 5000, b'{"a":' * 5000, b"\xf0\x9f\x92\xa9", b"../../etc/passwd"),
    *(b"<b>&amp;", b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"&a *a", b"!!python/object:os.system"),
    b"x" * 10_000,
)


@st.composite
def _damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with bytes cut out, repeated, changed, or other pieces in their place."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        piece = draw(
            st.sampled_from(_PIECES) | st.binary(max_size=8) | st.just(data[start:end] * 2)
        )
        if draw(st.booleans()):
            end = min(end, start + 8)
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", PARSERS)
def test_seeds_are_taken(name: str) -> None:
    parser = PARSERS[name]
    assert [tried(parser, seed) for seed in parser.seeds] == [True] * len(parser.seeds)


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_input_is_taken_or_refused(name: str) -> None:
    parser = PARSERS[name]

    @settings(max_examples=max(_TRIED // parser.cost, 10))
    @given(_damaged(parser.seeds))
    def try_one(data: bytes) -> None:
        tried(parser, data)

    try_one()


def _found() -> list[tuple[str, str]]:
    return [(path.parent.name, path.name) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("name", "file"), _found())
def test_what_was_a_defect_is_none_any_more(name: str, file: str) -> None:
    tried(PARSERS[name], (CORPUS / name / file).read_bytes())


@pytest.mark.parametrize("name", ["csv_gzip", "tfrecords"])
def test_a_gzip_bomb_fills_no_memory(name: str) -> None:
    bomb = gzip.compress(bytes(300 << 20), 1)
    tracemalloc.start()
    try:
        assert not tried(PARSERS[name], bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20


def test_a_defect_is_told_from_a_refusal() -> None:
    def broken(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        tried(Parser(broken, (b"",)), b"x")
