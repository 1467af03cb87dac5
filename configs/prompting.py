"""What an LLM is asked, and how it is called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.section import EnvironmentVariable, Metavar, Section


class Generation(Section):
    """How an LLM answers the prompts."""

    client: Literal["openai", "batch-file", "replay", "gguf"] = Field(
        "openai",
        description="openai: any OpenAI-compatible endpoint; batch-file: OpenAI batch request "
        "files; replay: answers of existing answer files, by prompt hash; gguf: a model file in "
        "this process (pip install -r requirements-gguf.txt)",
    )
    base_url: Annotated[str | None, Metavar("URL")] = Field(
        None, description="address of the endpoint, e.g. http://localhost:8000/v1; OpenAI if empty"
    )
    api_key_variable: EnvironmentVariable = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key; never the key"
    )
    model: str | None = Field(
        None, description="the LLM's name at the endpoint; gguf: path of the model file"
    )
    system_prompt: str | None = Field(None, description="sent before every prompt")
    temperature: Annotated[float | None, Metavar("T")] = Field(
        0.0, ge=0, description="left to the endpoint if null; some models accept no other"
    )
    max_tokens: int = Field(512, ge=1, description="upper bound of an answer, in tokens")
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the endpoint calls that bound (OpenAI: the longer name)"
    )
    json_schema: Annotated[str | None, Metavar("FILE")] = Field(
        None,
        description="JSON schema file with one text property per factor; free text if empty. "
        "Prompts that ask for names have schemas of their own",
    )
    send_schema: bool = Field(
        True,
        description="tell the endpoint the JSON schema of an answer (response_format); answers are "
        "held against it either way",
    )
    keep_truncated: bool = Field(
        False, description="keep answers cut off at max_tokens, flagged, instead of rejecting them"
    )
    attempts_per_answer: int = Field(
        2, ge=1, description="paid calls for one prompt while its answer is empty or off the schema"
    )
    concurrency: int = Field(8, ge=1, description="calls in flight at the same time")
    timeout_seconds: float = Field(120.0, gt=0, description="of one call")
    retries: int = Field(
        6, ge=0, description="after 429, 5xx, timeouts and lost connections, with growing delays"
    )
    retry_delay_seconds: float = Field(1.0, ge=0, description="upper bound of the first delay")
    stop_after_failures: int = Field(
        20, ge=1, description="failed prompts in a row, after which the endpoint counts as down"
    )
    budget_tokens: int | None = Field(None, ge=1, description="tokens one run may spend")
    budget_usd: Annotated[float | None, Metavar("DOLLARS")] = Field(
        None, gt=0, description="US dollars one run may spend"
    )
    price_input: Annotated[float | None, Metavar("DOLLARS")] = Field(
        None, ge=0, description="US dollars for a million prompt tokens"
    )
    price_output: Annotated[float | None, Metavar("DOLLARS")] = Field(
        None, ge=0, description="US dollars for a million answer tokens"
    )
    requests_per_batch_file: int = Field(
        50_000, ge=1, description="batch-file: most requests in one file (OpenAI's limit)"
    )
    store: Annotated[str | None, Metavar("FILE")] = Field(
        None,
        description="SQLite file of paid answers, shared by runs; in the --out folder if empty",
    )

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Generation:
        if self.budget_usd is not None and None in (self.price_input, self.price_output):
            raise ValueError("budget_usd needs price_input and price_output")
        return self


class Prompts(Section):
    """Factorization prompts: what is asked about items, users and groups, and what it costs."""

    scenario: str | None = Field(
        None,
        description="movies, books, news, music, products, or the path of a YAML file of that form",
    )
    delimit_titles: bool = Field(
        True, description="put titles in quotation marks, so that a title cannot pose as a request"
    )
    title_characters: int = Field(200, ge=20, description="longer titles are cut")
    representative_titles: int = Field(15, ge=1, description="titles that stand for a group")
    lift_smoothing: float = Field(
        5.0, gt=0, description="interactions added to the observed and the expected number in lift"
    )
    minimum_group_users: int = Field(
        5, ge=1, description="a group of fewer contributing users is merged into the nearest group"
    )
    user_groups: dict[str, Literal["liked", "disliked"]] = Field(
        {"user_liked": "liked", "user_disliked": "disliked"},
        description="for each user source with groups, what its users were grouped by",
    )
    pseudonymous_custom_ids: bool = Field(
        True, description="custom_id of a user's prompt: made from the prompt, not the user id"
    )
    profile_sentence: str | None = Field(
        None,
        description="sentence about a user with attributes of data.profiles as placeholders, for "
        "example 'The user is a {gender} {occupation}.'; left out where a value is missing",
    )
    expected_answer_tokens: int = Field(150, ge=1, description="per text, for the cost table")
    expected_name_tokens: int = Field(6, ge=1, description="per name, for the cost table")
