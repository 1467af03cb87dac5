from __future__ import annotations

import pytest

from preprocessing.answers.checks import AnswerText, Thresholds, placeholder


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("The artist [unknown] appears to have a warm voice.", "[unknown]"),
        ("This film by [Director's Name] is slow.", "[Director's Name]"),
        ("A [insert genre here] with a twist.", "[insert genre here]"),
        ("[Your Name] would love this film.", "[Your Name]"),
        ("A thriller (insert title here) of its time.", "(insert title here)"),
        ("Fans of {name} enjoy it.", "{name}"),
        ("Fans of {{ movie_title }} enjoy it.", "{{ movie_title }}"),
        ("Fans of ${title} enjoy it.", "${title}"),
        ("Fans of %(title)s enjoy it.", "%(title)s"),
        ("<title> is a drama.", "<title>"),
        ("<movie name> is a drama.", "<movie name>"),
        ("The artist N/A appears to have a warm voice.", "N/A"),
        ("The genre of this film, says the catalogue, is N/A.", "is N/A"),
        ("Genre: N/A\nMood: N/A\nPlot: N/A", "N/A"),
        ("N/A", "N/A"),
        ("Lorem ipsum dolor sit amet.", "Lorem ipsum"),
        ("The film, directed by ____ in 1999, is a drama.", "____"),
        ('{"genre": "[genre]", "mood": "dark"}', "[genre]"),
    ],
)
def test_gaps(text, gap):
    detail = placeholder(AnswerText(text), Thresholds())
    assert detail is not None and gap in detail


@pytest.mark.parametrize(
    "text",
    [
        "[Rec] is a Spanish horror film, and xXx is not.",
        "An unknown artist sings an untitled song; the title is unknown.",
        "See [title](https://example.org/t) and note [1]; a tale [...] of love [sic].",
        '{"genre": "noir", "mood": "bleak"}',
        "In LaTeX it is \\text{noir} with x^{n} and a set {a, b}.",
        "A <b>bold</b> and <i>quiet</i> film.",
        "Themes\n___\nLove, __init__ and ___loss___.",
        "Toy Story (1995):\n- Genre: Animation\n- Author: N/A\n- Mood: warm, funny and a bit sad",
        "The path is a/n/a/b, and he inserts (insert shots) into the reel.",
    ],
)
def test_what_looks_like_a_gap(text):
    assert placeholder(AnswerText(text), Thresholds()) is None


def test_as_many_as_allowed():
    answer = AnswerText("Films of [unknown] with {name}.")
    assert placeholder(answer, Thresholds(maximum_placeholders=2)) is None
    found = placeholder(answer, Thresholds(maximum_placeholders=1))
    assert found == "2 placeholders: [unknown], {name}"
