"""An index of a catalogue's titles, in which names as LLMs write them are looked up.

A title and a name are compared by their normal forms: lower case, without accents and punctuation,
"&" as "and", a leading or trailing article put aside ("Matrix, The"), numbers as digits ("Part II"
as "2"). A title has several forms: as a whole, without what stands in brackets, each text in
brackets ("Seven Samurai (Shichinin no samurai)"), and the parts around a colon or dash ("Star Wars:
Episode IV - A New Hope"). What no form equals is compared with nearly equal ones.

All is done on columns of distinct names: Arrow's string kernels, NumPy, and rapidfuzz on pairs
that share rare groups of letters, so memory grows with names and titles, not their product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sparse
from rapidfuzz import fuzz, process

EXACT, ALTERNATIVE, NEAR = range(3)
"""How a name was found: it is the title; another name of the item; nearly one of its names."""

_ARTICLES = (
    "the|a|an|la|le|les|un|une|el|los|las|una|il|lo|gli|i|uno|o|os|as|um|uma|der|die|das|den|det|"
    "ein|eine|de|het|een|en|ett"
)
_TRAILING_ARTICLE = rf"^([^()]*), ({_ARTICLES})\b(\s*[(:].*)?$"
_TRAILING_ELISION = "^([^()]*), (l)['\u2019](\\s*[(:].*)?$"
_PLAIN_LETTERS = {
    **{"\u00f8": "o", "\u00e6": "ae", "\u0153": "oe", "\u00df": "ss", "\u0142": "l"},
    **{"\u0111": "d", "\u0131": "i", "\u03c2": "\u03c3"},
}
_YEAR = r"^(.*?)\s*\((?:film,? )?((?:1[89]|20)\d\d)(?: film)?\)\s*$"
_BRACKETS = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_ALSO_KNOWN = re.compile(r"^\s*(?:a\.?k\.?a\.?|also known as)\s+", re.IGNORECASE)
_PART_BREAK = re.compile(r"\s*:\s*|\s+[-\u2013\u2014]+\s+|,? or:?\s+(?=how\b|\()", re.IGNORECASE)
_OWNER = re.compile("(?:\\S+ ){0,2}\\S+['\u2019]s (.+)")
_PERHAPS_PARTS = "['\u2019]s |[(:\u2013\u2014]| -+ |(?i: or:? how )"

_PART_WORDS = frozenset({"part", "pt", "vol", "volume", "episode", "ep", "chapter", "no", "number"})
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii")
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ROMAN_NUMBER = {text: str(number) for number, text in enumerate(_ROMAN, start=1)}
_NUMBER_WORD = {text: str(number) for number, text in enumerate(_WORDS, start=1)}
_PERHAPS_NUMBERED = (
    r"\b(?:part|pt|vol|volume|episode|ep|chapter|no|number|[ivx]{2,4}|[vx]|vs|versus)\b"
)


def as_written(texts: pa.Array) -> pa.Array:
    """[texts] lower case, without accents, the article in front."""
    texts = pc.utf8_lower(pc.utf8_normalize(pc.utf8_trim_whitespace(texts), "NFKD"))
    # Marks of Latin, Greek and Cyrillic letters only: those of other scripts tell words apart.
    texts = pc.replace_substring_regex(texts, "[\u0300-\u036f]+", "")
    for letter, plain in _PLAIN_LETTERS.items():
        texts = pc.replace_substring(texts, letter, plain)
    texts = pc.replace_substring_regex(texts, _TRAILING_ARTICLE, r"\2 \1\3")
    return pc.replace_substring_regex(texts, _TRAILING_ELISION, r"\2'\1\3")


def normal_forms(written: pa.Array) -> pa.Array:
    """Words by which titles are compared.

    Args:
      written: [texts] texts of `as_written`.

    Returns:
      [texts] words with a space between them; empty for a text without letters and digits.
    """
    forms = pc.replace_substring_regex(written, "['\u2019\u2018`\u00b4\u02bc]", "")
    forms = pc.replace_substring(forms, "&", " and ")
    forms = pc.utf8_trim_whitespace(pc.replace_substring_regex(forms, r"[^\pL\pN\pM]+", " "))
    forms = _with_digits(forms)
    shorter = pc.replace_substring_regex(forms, r"^(?:the|an?) (.)", r"\1")
    shorter = pc.replace_substring_regex(shorter, r" the\b", "")
    return pc.if_else(pc.equal(shorter, ""), forms, shorter)


def _with_digits(forms: pa.Array) -> pa.Array:
    """Writes the numbers of parts as digits, and those words away that only announce them."""
    numbered = pc.match_substring_regex(forms, _PERHAPS_NUMBERED)
    if not pc.any(numbered).as_py():
        return forms
    changed = pa.array(map(_arabic, forms.filter(numbered).to_pylist()), forms.type)
    return pc.replace_with_mask(forms, numbered, changed)


def _arabic(form: str) -> str:
    words: list[str] = []
    for index, word in enumerate(form.split()):
        announced = bool(words) and words[-1] in _PART_WORDS
        if word in ("vs", "versus"):
            word = "v"
        number = _ROMAN_NUMBER.get(word) if announced or (index and word != "i") else None
        if announced:
            number = number or _NUMBER_WORD.get(word) or (word if word.isdigit() else None)
            if number is not None and len(words) > 1:
                words.pop()
        words.append(word if number is None else number)
    return " ".join(words)


def split_years(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Takes the year in brackets off the ends of texts.

    Returns:
      [texts] without it, and [texts] float64 of it, NaN where there is none.
    """
    has_year = pc.match_substring_regex(texts, _YEAR)
    plain = pc.if_else(has_year, pc.replace_substring_regex(texts, _YEAR, r"\1"), texts)
    years = pc.if_else(has_year, pc.replace_substring_regex(texts, _YEAR, r"\2"), None)
    return plain, pc.cast(years, pa.float64()).to_numpy(zero_copy_only=False)


def known_years(titles: pa.Array, years: np.ndarray | None) -> np.ndarray:
    """[items] float64 years of a catalogue's items, NaN where unknown.

    Args:
      titles: [items] titles; the year in brackets at the end is the item's where `years` has none.
      years: [items] float64, NaN where unknown; None if the catalogue has no such column.
    """
    if years is not None and not np.isnan(years).any():
        return years
    _, in_titles = split_years(pc.fill_null(titles.cast(pa.large_string()), ""))
    return in_titles if years is None else np.where(np.isnan(years), in_titles, years)


_WHOLE, _BRACKETED, _PART = range(3)

_ASKED_AT_ONCE = 1 << 11
_COMPARED_AT_ONCE = 1 << 22
_TEXTS_AT_ONCE = 1 << 17
_RAREST = 10
_SHARED_GRAMS = 3
_CANDIDATES = 10_000
_FEW_TEXTS = 1 << 15
_GRAM_OF_FEW, _GRAM_OF_MANY = 3, 5
"""Bytes of a group. A longer one is in fewer texts: by it, the texts that a name is compared with
stay few in a catalogue of millions, where every group of three is in ten thousand of them."""
_COST_OF_LEVEL = 2
_SHORTEST = 14
_ALIKE_WORDS = 60
_SMALL_WORDS = frozenset("a an and at by for from in of on or to with".split())


@dataclass(frozen=True)
class _Forms:
    """Forms of titles or names.

    Attributes:
      row: [forms] int64, the text that each is a form of.
      written: [forms] see `as_written`.
      normal: [forms] see `normal_forms`; none is empty.
      level: [forms] int8: `_WHOLE` text, `_BRACKETED` part of it, or another `_PART`.
      is_main: [forms] True for what is left of a text without its brackets.
    """

    row: np.ndarray
    written: pa.Array
    normal: pa.Array
    level: np.ndarray
    is_main: np.ndarray

    def only(self, kept: np.ndarray) -> _Forms:
        """Those forms where `kept`, [forms], is True."""
        mask = pa.array(kept)
        return _Forms(
            self.row[kept],
            self.written.filter(mask),
            self.normal.filter(mask),
            self.level[kept],
            self.is_main[kept],
        )

    @property
    def keys(self) -> pa.Array:
        """[forms] the same for "Troll Hunter" and "Trollhunter"."""
        return pc.replace_substring(self.normal, " ", "")


def _forms_of(texts: pa.Array, with_parts: bool) -> _Forms:
    """All forms of texts without years.

    Args:
      texts: [texts] titles or names.
      with_parts: whether what stands before and after a colon or dash is a form, too.
    """
    has_parts = pc.match_substring_regex(texts, _PERHAPS_PARTS)
    some_rows = np.flatnonzero(has_parts.to_numpy(zero_copy_only=False)).tolist()
    parts = [
        (row, *part)
        for row, text in zip(some_rows, texts.filter(has_parts).to_pylist(), strict=True)
        for part in _parts_of(text, with_parts)
    ]
    part_rows, part_texts, part_levels, is_main = zip(*parts, strict=True) if parts else ((),) * 4
    nothing = np.zeros(len(texts), np.int8)
    written = as_written(pa.concat_arrays([texts, pa.array(part_texts, texts.type)]))
    forms = _Forms(
        row=np.concatenate([np.arange(len(texts)), np.array(part_rows, np.int64)]),
        written=written,
        normal=normal_forms(written),
        level=np.concatenate([nothing, np.array(part_levels, np.int8)]),
        is_main=np.concatenate([nothing, np.array(is_main, np.int8)]).astype(bool),
    )
    return forms.only(pc.not_equal(forms.normal, "").to_numpy(zero_copy_only=False))


def _parts_of(text: str, with_parts: bool) -> Iterator[tuple[str, int, bool]]:
    """Parts of one text: text, level, and whether it is what is left without the brackets."""
    main = " ".join(_BRACKETS.sub(" ", text).split())
    if main != text:
        yield main, _WHOLE, True
    for inside in _BRACKETS.findall(text):
        if sum(map(str.isalnum, inside)) >= 3:
            yield _ALSO_KNOWN.sub("", inside), _BRACKETED, False
    head, *others = _PART_BREAK.split(main) if with_parts else [main]
    if others:
        if sum(map(str.isalpha, head)) >= 5:
            yield head, _PART, False
        for index in range(len(others)):
            tail = " ".join(others[index:])
            # Short ones, "The Awakening" or "The Final Cut", are more often films of their own.
            if len(tail.split()) >= 3 + tail.lower().startswith(("the ", "a ", "an ")):
                yield tail, _PART, False
        if len(others) > 1:
            yield f"{head} {others[-1]}", _PART, False
    owner = _OWNER.match(main) if with_parts else None
    if owner is not None and len(owner[1].split()) > 1:
        yield owner[1], _PART, False


def titles_alone(texts: pa.Array) -> pa.Array:
    """[texts] without what stands in brackets at the end."""
    return pc.replace_substring_regex(texts, r"(.)(?:\s*\([^()]*\))+\s*$", r"\1")


def outside_forms(names: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """What names outside the catalogue have in common.

    Returns:
      [names] int64 index of the normal form of each, its year and the brackets apart, -1 if nothing
      is left, as of "(1999)"; [forms] them.
    """
    plain, _ = split_years(names.cast(pa.large_string()))
    forms = normal_forms(as_written(titles_alone(plain)))
    encoded = pc.if_else(pc.equal(forms, ""), None, forms).dictionary_encode()
    index = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    return index, encoded.dictionary.cast(pa.string())


@dataclass(frozen=True)
class Matches:
    """Which items names may mean; a name that nothing is found for has no row.

    Attributes:
      years: [names] float64 of the years that stand in the names, NaN where none does.
      name: [matches] int64, ascending.
      item: [matches] int64, each once for a name.
      how: [matches] int8, `EXACT`, `ALTERNATIVE` or `NEAR`, the same for all of a name.
      score: [matches] float32, the similarity of name and title, 100 for equal forms.
    """

    years: np.ndarray
    name: np.ndarray
    item: np.ndarray
    how: np.ndarray
    score: np.ndarray


class TitleIndex:
    """Titles of a catalogue by their forms.

    Attributes:
      years: [items] float64, NaN where unknown.
    """

    def __init__(self, titles: pa.Array, years: np.ndarray | None = None):
        """Indexes a catalogue.

        Args:
          titles: [items] titles, empty or null where there is none; a year in brackets at the end
            is the item's where `years` has none.
          years: [items] float64, NaN where unknown; None if the catalogue has no such column.
        """
        plain, _ = split_years(pc.fill_null(titles.cast(pa.large_string()), ""))
        self.years = known_years(titles, years)
        forms = _forms_of(plain, with_parts=True)
        encoded = forms.keys.dictionary_encode()
        key = encoded.indices.to_numpy()
        is_bracketed = forms.level == _BRACKETED
        order = np.lexsort([forms.row, is_bracketed, key])
        self._keys = encoded.dictionary
        self._item, self._level = forms.row[order], forms.level[order]
        self._written = forms.written.take(pa.array(order))
        # Of each key two ranges, the second of texts in brackets.
        ranges = 2 * key + is_bracketed
        self._first = np.searchsorted(ranges[order], np.arange(2 * len(self._keys) + 1))
        self._bracketed = np.flatnonzero(is_bracketed[order])
        self._bracketed_pairs = self._pairs(key[order], self._item)[self._bracketed]
        # A part of a title is too little to be nearly met.
        whole = forms.only(forms.level < _PART)
        self._near_item = whole.row
        self._near = _NearTexts(whole.normal)

    def find(self, names: pa.Array, year_tolerance: int, near: float) -> Matches:
        """Finds the items that names may mean.

        Args:
          names: [names] distinct names as LLMs write them, with a year in brackets or without.
          year_tolerance: a name with a year means no item of a year further away.
          near: least similarity, 0 to 100, of what is not equal; see `_NearTexts`.
        """
        plain, years = split_years(names.cast(pa.large_string()))
        forms = _forms_of(plain, with_parts=False)
        name, item, cost = self._cheapest(*self._equal(forms), years, year_tolerance)
        # What several titles begin with, "Star Wars", is said of the first of them.
        apart = np.where(np.isnan(self.years[item]), np.inf, self.years[item])
        apart[cost < _COST_OF_LEVEL * _PART] = 0
        name, item, _, cost = _least(name, item, apart, cost)
        how = np.where(cost >= _COST_OF_LEVEL, ALTERNATIVE, EXACT).astype(np.int8)
        equal = Matches(years, name, item, how, np.full(len(name), 100, np.float32))

        unmet = np.ones(len(names), bool)
        unmet[name] = False
        asked = forms.only(unmet[forms.row] & (forms.level == _WHOLE) & ~forms.is_main)
        form, met, score = self._near.find(asked.normal, near)
        name, item, distance = self._cheapest(
            asked.row[form], self._near_item[met], 100 - score, years, year_tolerance
        )
        how = np.full(len(name), NEAR, np.int8)
        return _together(equal, Matches(years, name, item, how, 100 - distance))

    def _equal(self, forms: _Forms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Names, items and costs of all pairs of which a form is equal.

        A name with brackets needs more than the text before them: "The Bridge (Die Bruecke)" is
        not any bridge. Nor do equal texts in brackets suffice: "(Remastered)" is said of any album.
        """
        key = pc.index_in(forms.keys, value_set=self._keys)
        is_known = key.is_valid().to_numpy(zero_copy_only=False)
        is_known &= ~forms.is_main | np.isin(forms.row, forms.row[is_known & ~forms.is_main])
        forms = forms.only(is_known)
        keys = key.filter(pa.array(is_known)).to_numpy()
        is_bracketed = forms.level == _BRACKETED
        form, entry = expand(self._first[2 * keys], self._first[2 * keys + 2 - is_bracketed])
        beside, bracketed = self._equal_brackets(
            forms.row, keys, np.flatnonzero(is_bracketed), forms.row[form], self._item[entry]
        )
        form, entry = np.concatenate([form, beside]), np.concatenate([entry, bracketed])
        name, item = forms.row[form], self._item[entry]
        otherwise = pc.not_equal(
            forms.written.take(pa.array(form)), self._written.take(pa.array(entry))
        ).to_numpy(zero_copy_only=False)
        cost = _COST_OF_LEVEL * (forms.level[form] + self._level[entry]) + otherwise
        pair = self._pairs(name, item)
        is_main = forms.is_main[form]
        supported = ~is_main | np.isin(pair, pair[~is_main])
        return name[supported], item[supported], cost[supported].astype(np.float32)

    def _equal_brackets(
        self,
        row: np.ndarray,
        keys: np.ndarray,
        bracketed: np.ndarray,
        name: np.ndarray,
        item: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Equal texts in brackets of names and items that are a pair already.

        They are looked up by pair: a text such as "(Kindle Edition)" may be in thousands of titles
        and of names.

        Args:
          row: [forms] name that each is a form of.
          keys: [forms] key of each.
          bracketed: [bracketed] those forms that stand in brackets.
          name: [pairs] names.
          item: [pairs] items.

        Returns:
          [equal] forms; [equal] entries of the titles.
        """
        bracketed = bracketed[np.argsort(row[bracketed], kind="stable")]
        name, item = np.divmod(np.unique(self._pairs(name, item)), len(self.years))
        starts, ends = (np.searchsorted(row[bracketed], name, side) for side in ("left", "right"))
        pair, place = expand(starts, ends)
        form = bracketed[place]
        wanted = self._pairs(keys[form], item[pair])
        starts, ends = (
            np.searchsorted(self._bracketed_pairs, wanted, side) for side in ("left", "right")
        )
        met, place = expand(starts, ends)
        return form[met], self._bracketed[place]

    def _pairs(self, left: np.ndarray, item: np.ndarray) -> np.ndarray:
        """[pairs] int64, ascending where the left ones ascend, and items of the same."""
        return left.astype(np.int64) * len(self.years) + item

    def _cheapest(
        self,
        name: np.ndarray,
        item: np.ndarray,
        cost: np.ndarray,
        years: np.ndarray,
        tolerance: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each name's items the cheapest ones: names, ascending; items; costs."""
        apart = np.abs(years[name] - self.years[item])
        fits = ~(apart > tolerance)  # where a year is unknown, nothing speaks against it
        name, item, cost = name[fits], item[fits], cost[fits]
        order = np.lexsort([cost, item, name])
        name, item, cost = name[order], item[order], cost[order]
        first = np.ones(len(name), bool)
        first[1:] = (name[1:] != name[:-1]) | (item[1:] != item[:-1])
        name, item, cost = _least(name[first], item[first], cost[first])
        return name, item, cost


def _least(
    name: np.ndarray, item: np.ndarray, cost: np.ndarray, *others: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Those rows of each name, of names in ascending order, that cost the least."""
    starts = np.flatnonzero(np.r_[True, name[1:] != name[:-1]][: len(name)])
    if len(name):
        least = np.minimum.reduceat(cost, starts)
        best = cost == np.repeat(least, np.diff(np.r_[starts, len(name)]))
        name, item, cost = name[best], item[best], cost[best]
        others = tuple(other[best] for other in others)
    return (name, item, cost, *others)


def _together(first: Matches, second: Matches) -> Matches:
    """The matches of disjoint sets of names."""
    name = np.concatenate([first.name, second.name])
    order = np.argsort(name, kind="stable")
    joined = (
        np.concatenate([getattr(first, field), getattr(second, field)])[order]
        for field in ("item", "how", "score")
    )
    return Matches(first.years, name[order], *joined)


def expand(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of ranges, one range after the other: [numbers] of its range, and the number."""
    sizes = ends - starts
    range_of_value = np.repeat(np.arange(len(starts)), sizes)
    before = np.cumsum(sizes) - sizes
    return range_of_value, np.arange(len(range_of_value)) + (starts - before)[range_of_value]


class _NearTexts:
    """Texts by the groups of three bytes in them ("trigrams"), or of five where texts are many.

    Two texts are nearly equal if they have the same numbers, as many words, each word is like its
    counterpart, and the difference is more than the "s" of a plural: "Toy Story 2" is not "Toy
    Story", "Aliens" not "Alien", "Him" not "Her".

    Args:
      texts: [texts] normal forms.
    """

    def __init__(self, texts: pa.Array):
        self._texts = texts
        self._gram = _GRAM_OF_FEW if len(texts) <= _FEW_TEXTS else _GRAM_OF_MANY
        row, code = _grams(texts, self._gram)
        self._codes, column, self._frequency = np.unique(
            code, return_inverse=True, return_counts=True
        )
        self._by_gram = sparse.csr_matrix(
            (np.ones(len(row), np.int16), (column, row)), shape=(len(self._codes), len(texts))
        )
        self._lengths, self._words, self._digits = _shape_of(texts)

    def find(self, asked: pa.Array, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texts that are like others.

        Args:
          asked: [asked] normal forms.
          least: similarity from which a pair is reported.

        Returns:
          [pairs] int64 indices into `asked`; [pairs] int64 indices into the texts; [pairs] float32
          similarity, 0 to 100 (rapidfuzz's `fuzz.ratio`).
        """
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        long_enough = np.flatnonzero(pc.utf8_length(asked).to_numpy() >= _SHORTEST)
        if len(self._texts):
            for start in range(0, len(long_enough), _ASKED_AT_ONCE):
                rows = long_enough[start : start + _ASKED_AT_ONCE]
                some = asked.take(pa.array(rows))
                grams = self._rare_grams(some)
                # Where all begin alike, even the rarest groups are in most of the texts.
                batch = np.cumsum(grams @ self._frequency) // _COMPARED_AT_ONCE
                ends = np.r_[np.flatnonzero(np.diff(batch)) + 1, len(rows)]
                for first, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
                    row, text, score = self._find(
                        some.slice(first, end - first), grams[first:end], least
                    )
                    parts.append((rows[first:end][row], text, score))
        row, text, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        return row, text, score

    def _find(
        self, asked: pa.Array, rare_grams: sparse.csr_matrix, least: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shared = (rare_grams @ self._by_gram).tocoo()
        enough = shared.data >= _SHARED_GRAMS
        row, text = shared.row[enough].astype(np.int64), shared.col[enough].astype(np.int64)
        lengths, words, digits = _shape_of(asked)
        together = lengths[row] + self._lengths[text]
        # The similarity is twice the common part by the sum of the lengths.
        possible = 200 * np.minimum(lengths[row], self._lengths[text]) >= least * together
        possible &= words[row] == self._words[text]
        row, text = row[possible], text[possible]
        same_numbers = pc.equal(
            digits.take(pa.array(row)), self._digits.take(pa.array(text))
        ).to_numpy(zero_copy_only=False)
        row, text = row[same_numbers], text[same_numbers]
        left = asked.take(pa.array(row)).to_pylist()
        right = self._texts.take(pa.array(text)).to_pylist()
        score = process.cpdist(left, right, scorer=fuzz.ratio, score_cutoff=least)
        alike = score >= least
        for pair in np.flatnonzero(alike):
            alike[pair] = _words_are_alike(left[pair], right[pair])
        return row[alike], text[alike], score[alike]

    def _rare_grams(self, asked: pa.Array) -> sparse.csr_matrix:
        """[asked, grams] 1 for those groups of each text that the fewest texts here have."""
        row, code = _grams(asked, self._gram)
        column = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        is_code = self._codes[column] == code
        row, column = row[is_code], column[is_code]
        frequency = self._frequency[column]
        order = np.lexsort([column, frequency, row])
        row, column, frequency = row[order], column[order], frequency[order]
        first = np.searchsorted(row, np.arange(len(asked)))
        position = np.arange(len(row)) - first[row]
        total = np.cumsum(frequency, dtype=np.int64)
        few = total - np.r_[0, total][first[row]] <= _CANDIDATES
        kept = (position < _RAREST) & (few | (position < _SHARED_GRAMS))
        return sparse.csr_matrix(
            (np.ones(int(kept.sum()), np.int16), (row[kept], column[kept])),
            shape=(len(asked), len(self._codes)),
        )


def _shape_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """[texts] characters, [texts] words and [texts] numbers of normal forms."""
    digits = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"[^0-9]+", " "))
    return pc.utf8_length(texts).to_numpy(), pc.count_substring(texts, " ").to_numpy(), digits


def _words_are_alike(left: str, right: str) -> bool:
    """Whether texts of as many words differ in single letters only, and by more than a plural."""
    pairs = [pair for pair in zip(left.split(), right.split(), strict=True) if pair[0] != pair[1]]
    plural = all(first.rstrip("sz") == second.rstrip("sz") for first, second in pairs)
    return not plural and all(
        fuzz.ratio(*pair) >= _ALIKE_WORDS or _SMALL_WORDS.issuperset(pair) for pair in pairs
    )


def _grams(texts: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct groups of so many bytes of each text, a space at both its ends included.

    Returns:
      [grams] int64 indices of the texts, ascending; [grams] int64 their codes, at most five bytes.
    """
    nothing, space = (pa.scalar(text, pa.large_string()) for text in ("", " "))
    rows, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    bits = 8 * size
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts.slice(start, _TEXTS_AT_ONCE)
        padded = pc.binary_join_element_wise(nothing, some, nothing, space)
        offsets = np.frombuffer(padded.buffers()[1], np.int64)[: len(padded) + 1]
        data = np.frombuffer(padded.buffers()[2], np.uint8)[: offsets[-1]].astype(np.int64)
        code = np.zeros(max(len(data) - size + 1, 0), np.int64)
        for byte in range(size):
            code = (code << 8) | data[byte : byte + len(code)]
        row, position = expand(offsets[:-1], np.maximum(offsets[1:] - size + 1, offsets[:-1]))
        both = np.sort((row << bits) | code[position])
        distinct = both[np.r_[True, both[1:] != both[:-1]][: len(both)]]
        rows.append((distinct >> bits) + start)
        codes.append(distinct & ((1 << bits) - 1))
    return np.concatenate(rows), np.concatenate(codes)
