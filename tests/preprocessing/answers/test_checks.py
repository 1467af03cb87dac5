from __future__ import annotations

import gzip
import json

import pytest

from preprocessing.answers.checks import (
    TRUNCATION_LEVELS,
    AnswerText,
    Duplicates,
    Thresholds,
    bad_encoding,
    check_text,
    content_filter,
    degenerate_repetition,
    ends_inside_sentence,
    ngrams,
    placeholder,
    prompt_echo,
    refusal,
    repeated_share,
    stopped_at_limit,
    too_long,
    too_short,
    words_of,
    wrong_language,
)
from preprocessing.answers.record import Answer, Location, RejectedAnswer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (AnswerText("Ok.", finish_reason="length"), "truncated"),
        (AnswerText("A fine film, so", finish_reason="content_filter"), "content_filter"),
        (AnswerText("I'm sorry, I can't."), "refusal"),
        (AnswerText("A caf\ufffd in Paris, a love story."), "bad_encoding"),
        (AnswerText("Describe Heat.", "Describe Heat."), "prompt_echo"),
        (AnswerText("[title] is"), "placeholder"),
        (AnswerText("and then and then " * 20), "degenerate_repetition"),
        (AnswerText("A film about the"), "truncated"),
        (AnswerText("Good film."), "too_short"),
        (AnswerText(" ".join(f"word{i}" for i in range(5000))), "too_long"),
    ],
)
def test_the_surest_reason_comes_first(answer, reason):
    with pytest.raises(RejectedAnswer) as raised:
        check_text(answer, Thresholds())
    assert raised.value.reason == reason


def test_every_bundled_answer_passes_the_strictest_checks(repository_root):
    thresholds = Thresholds(truncation="strict", language="en")
    files = sorted((repository_root / "examples/movielens_small/answers").glob("*.jsonl.gz"))
    count = 0
    for path in (path for path in files if "links" not in path.name):
        for line in gzip.open(path, "rt", encoding="utf-8"):
            record = json.loads(line)
            check_text(AnswerText(record["answer"], record["prompt"]), thresholds)
            count += 1
    assert count >= 3107


def test_words_are_compared_without_case_punctuation_and_width():
    assert words_of("“Toy Story”, 1995: it’s  ＦＵＮ_ny!") == [
        "toy",
        "story",
        "1995",
        "it’s",
        "fun",
        "ny",
    ]


def test_ngrams_of_short_and_long_sequences():
    assert ngrams("abcd", 3) == [("a", "b", "c"), ("b", "c", "d")]
    assert ngrams(["a"], 2) == []


def test_blanks_are_cut_off_but_control_characters_stay():
    assert AnswerText(" \n a \x1f").text == "a \x1f"
    assert AnswerText("a").prompt_words == []


LENGTH_LIMITS = Thresholds(minimum_characters=3, maximum_characters=5)


def test_both_limits_of_length_are_allowed_themselves():
    for text, short, long in [("ab", 1, 0), ("abc", 0, 0), ("äöüÄÖ", 0, 0), ("abcdef", 0, 1)]:
        answer = AnswerText(f"  {text}\n")
        assert bool(too_short(answer, LENGTH_LIMITS)) == bool(short), text
        assert bool(too_long(answer, LENGTH_LIMITS)) == bool(long), text


WHOLE = [
    "A drama. It ends well.",
    'It is called "Heat."',
    "What a film! Who would not like it?",
    "一部关于友谊的电影。很感人。",
    "He said: “Go.”",
    "Genres: **drama**, *crime*.",
    '{"genre": "drama", "mood": "dark"}',
    "A classic. Great fun 🎬",
]
FRAGMENTS = [
    "a quiet family drama",
    "Genre: drama. Director: Michael Mann",
    "The themes are these.\n- love and loss\n- the price of revenge",
    "Directed by J. R. R. Smith with Mr. Jones in the lead role",
]
RUNNING = [
    "Heat is a crime film. It was directed in 1995 by Michael",
    "Heat is a crime film. “It is great.” The cast includes Al Pacino and Robert De Niro",
    "一部关于友谊的电影。这部电影讲述了一个男人",
]
CLEAR = [
    "The film explores the",
    "It won Oscars for best picture, best director,",
    "Its director (",
    "Heat is a crime film. It was directed by",
    "A film about a bank robber who",
]


@pytest.mark.parametrize(
    ("texts", "first_level"),
    [(WHOLE, None), (FRAGMENTS, "strict"), (RUNNING, "likely"), (CLEAR, "clear")],
)
def test_each_truncation_level_finds_its_endings_and_those_of_lower_levels(texts, first_level):
    for text in texts:
        actual = [
            level
            for level in TRUNCATION_LEVELS
            if ends_inside_sentence(AnswerText(text), Thresholds(truncation=level))
        ]
        start = TRUNCATION_LEVELS.index(first_level) if first_level else len(TRUNCATION_LEVELS)
        assert actual == list(TRUNCATION_LEVELS[start:]), text


def test_a_truncation_that_the_service_reports_counts_at_any_level():
    off = Thresholds(truncation="off")
    for reason in ("length", "max_tokens"):
        answer = AnswerText("A whole sentence.", finish_reason=reason)
        assert reason in (stopped_at_limit(answer, off) or "")
    for reason in (None, "stop"):
        assert stopped_at_limit(AnswerText("A whole", finish_reason=reason), off) is None


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I have no opinions about films.",
        "I'm sorry, but I cannot help with that request.",
        "I’m sorry, but I can’t do this.",
        "I am sorry, there is no such film.",
        "I don't have any information about this movie.",
        "I do not have access to the internet, so the film is unknown to me.",
        "Unfortunately, I am unable to provide details.",
        "I cannot accurately describe this film.",
        "Sorry, I am not familiar with it.",
        "I'm not familiar with a movie of this title.",
        "To describe these movies, I would need specific titles.",
        "Please provide the names of the movies.",
        "Could you please share more about the user?",
    ],
)
def test_refusals(text):
    assert refusal(AnswerText(text), Thresholds())


@pytest.mark.parametrize(
    "text",
    [
        "A lawyer who is unable to lie for a day: I cannot praise Jim Carrey enough.",
        '"I Can\'t Sleep" is a French drama. Its hero says sorry too late.',
        "A robot film: the hero is an artificial intelligence that dreams.",
        "This group does not have access to arthouse films and dislikes them.",
        "The thriller Sorry, Wrong Number (1948) stars Barbara Stanwyck.",
        "A film. " * 50 + "The robot says: as an AI I cannot help you.",
        "A film. " * 70 + "Please provide popcorn.",
    ],
)
def test_films_about_refusing_are_none(text):
    assert refusal(AnswerText(text), Thresholds()) is None


def test_a_refusal_that_the_service_reports_counts_whatever_the_text():
    for check, reason in [(content_filter, "content_filter"), (refusal, "refusal")]:
        assert check(AnswerText("A fine film.", finish_reason=reason), Thresholds())
        for other in ("stop", None):
            assert check(AnswerText("A fine film.", finish_reason=other), Thresholds()) is None


WELL_ENCODED = "Amélie – “naïve” façade, Søndag, 各自丰富, Ñandú, 5 € ½ 🎬\n\tÂge Ã O ®"


def test_good_texts_of_many_scripts_pass():
    assert bad_encoding(AnswerText(WELL_ENCODED), Thresholds()) is None


@pytest.mark.parametrize(
    "character", ["é", "ü", "’", "“", "—", "ß", "€", "各", "🎬", "Ã", "\u00a0"]
)
def test_utf8_read_as_windows_1252_or_latin_1_is_found(character):
    data = f"caf{character} noir".encode()
    for text in ("".join(chr(byte) for byte in data), misread(data)):
        assert bad_encoding(AnswerText(text), Thresholds()), ascii(text)


def misread(data: bytes) -> str:
    """Windows-1252 as browsers read it: undefined bytes become control characters."""
    return "".join(
        chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252")
        for byte in data
    )


@pytest.mark.parametrize("character", ["\ufffd", "\x00", "\x1b", "\x7f", "\x85", "\x1f"])
def test_replacement_and_control_characters_are_found(character):
    actual = bad_encoding(AnswerText(f"a film {character}"), Thresholds())
    assert actual == f"1 damaged characters: {ascii(character)}"


def test_some_damaged_characters_may_be_allowed():
    answer = AnswerText("a \ufffd b \ufffd c")
    assert bad_encoding(answer, Thresholds(maximum_bad_characters=1))
    assert bad_encoding(answer, Thresholds(maximum_bad_characters=2)) is None


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
def test_placeholders_are_found(text, gap):
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
def test_what_only_looks_like_a_placeholder_passes(text):
    assert placeholder(AnswerText(text), Thresholds()) is None


def test_some_placeholders_may_be_allowed():
    answer = AnswerText("Films of [unknown] with {name}.")
    assert placeholder(answer, Thresholds(maximum_placeholders=2)) is None
    actual = placeholder(answer, Thresholds(maximum_placeholders=1))
    assert actual == "2 placeholders: [unknown], {name}"


VARIED = " ".join(f"word{number}" for number in range(300))


def test_the_repeated_share_is_one_minus_distinct_over_all():
    assert repeated_share("aaaa", 2) == pytest.approx(2 / 3)
    assert repeated_share("abcd", 2) == 0
    assert repeated_share("a", 2) == 0


@pytest.mark.parametrize(
    "text",
    [
        "the film is good and " * 20,
        VARIED + " and so on" * 30,
        "ha" * 200,
        "电影很好看" * 30,
    ],
)
def test_loops_are_found(text):
    assert degenerate_repetition(AnswerText(text), Thresholds())


@pytest.mark.parametrize(
    "text",
    [
        VARIED,
        "good good good",
        "很好的电影，讲述了一个男人多年以后回到家乡，重新找到了年轻时的爱情，以及他与父亲之间的和解，音乐优美，"
        "画面动人，节奏舒缓，演员表演自然，结局令人难忘，获得多个奖项。",
        "Genre: drama. Mood: dark. Plot: a heist. Cast: Al Pacino, Robert De Niro, Val Kilmer.",
    ],
)
def test_texts_without_loops_pass(text):
    assert degenerate_repetition(AnswerText(text), Thresholds()) is None


def test_the_threshold_of_repetition_counts():
    text = "a b c d e f g h " * 2  # 13 4-grams, 8 of them distinct: 5 / 13 = 0.385 repeated
    assert degenerate_repetition(AnswerText(text), Thresholds(maximum_repetition=0.38))
    assert degenerate_repetition(AnswerText(text), Thresholds(maximum_repetition=0.39)) is None


PROMPT = (
    "Introduce the movie Toy Story (1995) and describe its attributes precisely, including but not "
    "limited to genre, director/cast, country, character, plot/theme, mood/tone and soundtrack."
)
ANSWER = "Pixar's first feature follows Woody and Buzz through friendship, envy and a rescue."


def echo(text: str, prompt: str | None, **thresholds: float) -> str | None:
    return prompt_echo(AnswerText(text, prompt), Thresholds(**thresholds))


def test_a_prompt_in_front_of_the_answer_is_found_whatever_its_layout():
    assert echo(f"{PROMPT} {ANSWER}", PROMPT) == "the answer starts with the prompt"
    assert echo(f"**{PROMPT.upper()}**\n\n{ANSWER}", PROMPT) == "the answer starts with the prompt"
    assert echo(PROMPT, PROMPT) == "the answer is the prompt"
    assert echo("toy story!", "Toy Story") == "the answer is the prompt"


def test_an_answer_may_begin_with_a_short_prompt():
    assert (
        echo("Toy Story (1995) is a film by Pixar about toys that live.", "Toy Story (1995)")
        is None
    )


def test_the_share_of_repeated_phrases_decides():
    # 12 words: 8 5-grams. The first 9 words are the prompt's: 5 of the 8 are known.
    prompt = "x a b c d e f g h i y z"
    text = "a b c d e f g h i 1 2 3"
    assert echo(text, prompt, maximum_echo=0.62) == "62% of the answer's phrases are the prompt's"
    assert echo(text, prompt, maximum_echo=0.63) is None


def test_an_unknown_prompt_and_a_real_answer_pass():
    assert echo(ANSWER, None) is None
    assert echo(ANSWER, PROMPT) is None


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


def add(duplicates: Duplicates, line: int, entity: str, text: str, **fields: str) -> str | None:
    answer = Answer(
        fields.get("source", "item"),
        entity,
        fields.get("extraction", "individual"),
        text,
        prompt=fields.get("prompt"),
        location=Location("f", line),
    )
    try:
        duplicates.add(answer, AnswerText(text))
    except RejectedAnswer as rejection:
        return str(rejection)
    return None


def test_duplicates_remember_accepted_entities_and_texts():
    duplicates = Duplicates()
    assert add(duplicates, 1, "1", "A film.") is None
    assert (
        add(duplicates, 2, "1", "a film")
        == "duplicate_entity: same entity as line 1 of f, with the same text"
    )
    assert (
        add(duplicates, 3, "1", "Another.")
        == "duplicate_entity: same entity as line 1 of f, with another text"
    )
    assert (
        add(duplicates, 4, "2", "“A  FILM!”")
        == "duplicate_answer: same text as line 1 of f, for another entity"
    )
    # What was rejected is not remembered.
    assert add(duplicates, 5, "2", "Another.") is None


def test_entities_of_equal_prompts_may_have_the_same_answer():
    duplicates = Duplicates()
    assert add(duplicates, 1, "1", "A film.", prompt="Heat?") is None
    assert add(duplicates, 2, "2", "A film.", prompt="Heat?") is None
    for line, other in ((3, {"prompt": "Alien?"}), (4, {})):
        rejection = add(duplicates, line, "3", "A film.", **other)
        assert rejection == "duplicate_answer: same text as line 1 of f, for another entity"


def test_groups_and_other_sources_are_no_duplicates():
    duplicates = Duplicates()
    assert add(duplicates, 1, "1", "One.") is None
    assert add(duplicates, 2, "1", "Two.", extraction="collective") is None
    assert add(duplicates, 3, "1", "Three.", source="user") is None


def test_equal_texts_may_be_allowed_and_symbols_differ():
    duplicates = Duplicates(allow_equal_texts=True)
    assert add(duplicates, 1, "1", "A film.") is None
    assert add(duplicates, 2, "2", "A film.") is None
    symbols = Duplicates()
    assert add(symbols, 1, "1", "!!!") is None
    assert add(symbols, 2, "2", "???") is None
