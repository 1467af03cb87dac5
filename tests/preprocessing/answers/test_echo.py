from __future__ import annotations

from preprocessing.answers.checks import AnswerText, Thresholds, prompt_echo

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
