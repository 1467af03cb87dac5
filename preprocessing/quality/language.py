"""Whether a text is in English: by script, and by its function words against others'."""

from __future__ import annotations

from collections.abc import Sequence

from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds

_ENGLISH = frozenset(
    """
    the and of for as to that with it by this from which his their its have has they who what when
    where while into through about than these those like more most other both during between whose
    """.split()
)
# Words that are not English as well, such as "die" or "an", are left out.
_OTHERS = tuple(
    frozenset(words.split())
    for words in (
        "der das und ist nicht ein eine einen mit von den dem im zu des auf sich auch als wird",
        "le la les des et une est dans qui que du pour pas sur au avec son sa ses ce cette",
        "el los las una que con por del y es su sus un en la como para se lo al más",
        "il di che è un una per con del della gli nel la le e si sono alla dei più",
        "que uma não com os da do na em é sua seu um para as dos se mais ao por",
        "de het een van en dat niet met voor zijn naar ook maar er te op aan bij door",
        "og och det en et af av til att som er är med på för den ikke inte der han",
        "w z i na się do nie jest to że o jego jej od po przez oraz dla jak który",
    )
)
_MINIMUM_WORDS = 8
_MINIMUM_LATIN_SHARE = 0.9
_MINIMUM_ENGLISH_SHARE = 0.02


def wrong_language(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Why a text is not English, when English was asked for."""
    if thresholds.language != "en":
        return None
    letters = [character for character in answer.text if character.isalpha()]
    if not letters:
        return "no letters"
    latin = sum(character < "\u0250" for character in letters) / len(letters)
    if latin < _MINIMUM_LATIN_SHARE:
        return f"{latin:.0%} of the letters are Latin"
    if len(answer.words) < _MINIMUM_WORDS:
        return None
    english = _share(answer.words, _ENGLISH)
    other = max(_share(answer.words, words) for words in _OTHERS)
    if english < max(_MINIMUM_ENGLISH_SHARE, other):
        return f"{english:.0%} English function words, {other:.0%} of another language"
    return None


def _share(words: Sequence[str], known: frozenset[str]) -> float:
    return sum(word in known for word in words) / len(words)
