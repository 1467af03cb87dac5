from __future__ import annotations

import pytest

from preprocessing.answers.checks import AnswerText, Thresholds, wrong_language

ENGLISH = Thresholds(language="en")
FOREIGN = [
    "Der Film erzählt von einem Mann, der nach Jahren in die Heimat kehrt und eine Frau trifft.",
    "Le film raconte l'histoire d'un homme qui retourne dans son village après des années.",
    "La película cuenta la historia de un hombre que vuelve a su pueblo después de años.",
    "De film vertelt het verhaal van een man die na jaren terugkeert naar zijn dorp.",
    "O filme conta a história de um homem que volta à sua aldeia e reencontra as filhas.",
    "Filmen handler om en mand, der efter år i fængsel vender tilbage til sin landsby.",
    "Film opowiada o mężczyźnie, który po latach wraca do swojej wioski i spotyka dawną miłość.",
    "Elokuva kertoo miehestä joka palaa vuosien jälkeen kotikyläänsä etsimään vanhaa rakkauttaan.",
    "这部电影讲述了一个男人多年后回到家乡的故事。",
    "Фильм рассказывает о человеке, который возвращается в родной город.",
    "1995 — 2001: 12345",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages_and_scripts_are_found_only_when_english_is_asked_for(text):
    assert wrong_language(AnswerText(text), ENGLISH)
    assert wrong_language(AnswerText(text), Thresholds()) is None


@pytest.mark.parametrize(
    "text",
    [
        "The film is about a man who returns to his village and finds his old love.",
        "La Vie en Rose and Der Untergang are two of the films that this group likes.",
        "Amélie, Das Boot",
    ],
)
def test_english_with_foreign_titles_passes(text):
    assert wrong_language(AnswerText(text), ENGLISH) is None
