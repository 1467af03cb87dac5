"""The typed configuration of one scenario, from raw data to the served model.

One YAML file describes a scenario from raw logs to the served model. Every section is a frozen
pydantic model that refuses unknown keys, so a misspelt key is an error with a suggestion and never
a silent default.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, defaults validated like input."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class InteractionColumns(Section):
    """Which columns of the interaction file hold what."""

    user: str = Field("user_id", description="column with the user id")
    item: str = Field("item_id", description="column with the item id")
    rating: str = Field("rating", description="column with the rating, a number")
    timestamp: str = Field("timestamp", description="column with the time in seconds, an integer")


class Interactions(Section):
    """The log of who rated what and when."""

    path: str = Field(description="CSV file (.csv or .csv.gz) with a header line")
    columns: InteractionColumns = InteractionColumns()


class Attribute(Section):
    """One attribute of an item."""

    kind: Literal["categorical", "numeric"] = Field(description="how the model reads the attribute")
    column: str | None = Field(
        None, description="column in the catalogue; the attribute's name if empty"
    )
    separator: str | None = Field(
        None, description="splits a multi-valued categorical attribute, for example '|'"
    )


class Catalogue(Section):
    """The items that can be ranked."""

    path: str = Field(description="CSV file with a header line, one item a line")
    item: str = Field("item_id", description="column with the item id")
    title: str = Field("title", description="column with the title that people read")
    attributes: dict[str, Attribute] = Field(
        default_factory=dict, description="item attributes by name, used as model inputs"
    )


class Data(Section):
    """Raw data."""

    interactions: Interactions
    catalogue: Catalogue
    positive_rating: float = Field(4.0, description="label is 1 when the rating is at least this")
    history_length: int = Field(
        200, ge=1, description="interactions kept in an example's history, newest last"
    )


class Split(Section):
    """How samples are divided into train, validation and test."""

    by: Literal["time", "user"] = Field(
        "time",
        description="time: the parts follow each other in time within each user; "
        "user: every user belongs to one part (unseen users in validation and test)",
    )
    fractions: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="share of train, validation and test"
    )
    seed: int = Field(0, description="seed of the user split's hash")
    knowledge_history_cap: int = Field(
        30,
        ge=0,
        description="the LLM saw at most this many of a user's first interactions, at most half of "
        "them; samples start after them (leak rule)",
    )

    @field_validator("fractions")
    @classmethod
    def _fractions_add_up(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) <= 0 or abs(sum(fractions) - 1.0) > 1e-6:
            raise ValueError("the three fractions must be positive and add up to 1")
        return fractions


class SourceAnswers(Section):
    """Where the answers of one knowledge source are."""

    entity: Literal["item", "user"] = Field(description="what the source's ids are")
    individual: list[str] = Field(
        default_factory=list, description="answer files (.jsonl, .jsonl.gz), one answer per entity"
    )
    collective: list[str] = Field(
        default_factory=list, description="answer files with one answer per group of entities"
    )
    groups: str | None = Field(
        None,
        description="CSV with two columns, <entity>_id and group_id; needed for collective answers",
    )
    history_entry_pattern: str | None = Field(
        None,
        description="regular expression matching once per interaction shown in a prompt; lets the "
        "leak check count what the LLM saw of each user. A user source is unverified without it, "
        "and when an answer in use has no prompt in which it matches",
    )
    groups_verified: bool = Field(
        False,
        description="declares that the groups were built from interactions before k_u only; "
        "nothing checks it",
    )

    @model_validator(mode="after")
    def _collective_needs_groups(self) -> SourceAnswers:
        if not self.individual and not self.collective:
            raise ValueError("name at least one answer file under 'individual' or 'collective'")
        if self.collective and self.groups is None:
            raise ValueError(
                "'collective' answers need 'groups', the file that maps ids to group ids"
            )
        return self


class Encoder(Section):
    """The text encoder that turns answers into knowledge vectors."""

    kind: Literal["minilm", "tfidf"] = Field(
        "minilm",
        description="minilm: all-MiniLM-L6-v2 (int8, 384 numbers) on onnxruntime; "
        "tfidf: TF-IDF and truncated SVD fitted on the answers, no model file",
    )
    batch_size: int = Field(8, ge=1, description="answers per encoder call")
    maximum_tokens: int = Field(256, ge=8, description="minilm: tokens read of each answer")
    dimension: int = Field(256, ge=2, description="tfidf: width of the vectors")
    seed: int = Field(0, description="tfidf: seed of the SVD")


class Knowledge(Section):
    """LLM knowledge: which sources the model uses and where their answers are."""

    sources: tuple[str, ...] = Field(
        ("item", "user"), description="sources with a HEIN tower of their own; names from 'answers'"
    )
    answers: dict[str, SourceAnswers] = Field(description="answer files by source name")
    encoder: Encoder = Encoder()
    shards: int = Field(2, ge=1, description="TFRecord files per source")

    @field_validator("sources", mode="before")
    @classmethod
    def _split_names(cls, sources: object) -> object:
        if isinstance(sources, str):
            return tuple(name.strip() for name in sources.split(",") if name.strip())
        return sources

    @model_validator(mode="after")
    def _sources_have_answers(self) -> Knowledge:
        for source in self.sources:
            if source not in self.answers:
                known = ", ".join(sorted(self.answers))
                raise ValueError(
                    f"source '{source}' is not described under 'answers' (there: {known})"
                )
        return self


class Generation(Section):
    """How an LLM answers the prompts."""

    client: Literal["openai", "batch-file", "replay"] = Field(
        "openai",
        description="openai: any OpenAI-compatible endpoint; batch-file: OpenAI batch request "
        "files; replay: answers of existing answer files, by prompt hash",
    )
    base_url: str | None = Field(
        None, description="address of the endpoint, e.g. http://localhost:8000/v1; OpenAI if empty"
    )
    api_key_variable: str = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key; never the key"
    )
    model: str | None = Field(None, description="the LLM's name at the endpoint")
    system_prompt: str | None = Field(None, description="sent before every prompt")
    temperature: float | None = Field(
        0.0, ge=0, description="left to the endpoint if null; some models accept no other"
    )
    max_tokens: int = Field(512, ge=1, description="upper bound of an answer, in tokens")
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the endpoint calls that bound (OpenAI: the longer name)"
    )
    json_schema: str | None = Field(
        None, description="JSON schema file with one text property per factor; free text if empty"
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
    budget_usd: float | None = Field(None, gt=0, description="US dollars one run may spend")
    price_input: float | None = Field(
        None, ge=0, description="US dollars for a million prompt tokens"
    )
    price_output: float | None = Field(
        None, ge=0, description="US dollars for a million answer tokens"
    )
    requests_per_batch_file: int = Field(
        50_000, ge=1, description="batch-file: most requests in one file (OpenAI's limit)"
    )
    store: str | None = Field(
        None,
        description="SQLite file of paid answers, shared by runs; in the --out folder if empty",
    )

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Generation:
        if self.budget_usd is not None and None in (self.price_input, self.price_output):
            raise ValueError("budget_usd needs price_input and price_output")
        return self


class Profiles(Section):
    """What is known about users beside their interactions."""

    path: str = Field(description="CSV file with a header line, one user a line")
    user: str = Field("user_id", description="column with the user id; never shown to the LLM")
    sentence: str = Field(
        description="sentence about a user with columns as placeholders, for example "
        "'The user is a {gender} {occupation}.'; left out where a value is missing"
    )


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
    profiles: Profiles | None = Field(None, description="profile sentences of users")
    expected_answer_tokens: int = Field(150, ge=1, description="per answer, for the cost table")


class HybridExpert(Section):
    """Shape of the hybridized expert-integrated network."""

    num_shared_experts: int = Field(2, ge=0, description="experts that serve every source")
    num_dedicated_experts: int = Field(5, ge=0, description="experts of each source alone")
    expert_units: tuple[int, ...] = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1)


class Match(Section):
    """Knowledge match: how the candidate resembles what the user rated, in knowledge space."""

    source: str = Field("item", description="item source whose vectors are compared")
    history_length: int = Field(200, ge=1, description="newest interactions that take part")
    dimension: int = Field(
        64, ge=2, description="width of the reduced item table (PCA; Nystroem for ridge)"
    )


class Model(Section):
    """The ranking model."""

    backbone: str = Field("din", description="registry name of the ranking model")
    adapter: Literal["none", "hein"] = Field(
        "hein", description="how knowledge vectors become fields of the backbone"
    )
    match: Literal["none", "means", "ridge"] = Field("none", description="kind of knowledge match")
    embedding_dimension: int = Field(32, ge=1, description="width of every field")
    attention_history_length: int = Field(
        30, ge=1, description="newest interactions attention sees"
    )
    top_units: tuple[int, ...] = Field((200, 80), description="widths of the top network")
    dropout_rate: float = Field(0.2, ge=0, lt=1)
    id_dropout_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of candidates whose id is hidden in training (cold start)",
    )
    knowledge_dropout_rate: float = Field(
        0.05, ge=0, lt=1, description="share of entities whose knowledge is hidden in training"
    )
    hein: HybridExpert = HybridExpert()
    knowledge_match: Match = Match()


class Training(Section):
    """How the model is trained."""

    epochs: int = Field(20, ge=1, description="upper bound; early stopping usually ends sooner")
    batch_size: int = Field(512, ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, at the start")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the learning rate falls to 0 over all epochs"
    )
    embedding_regularization: float = Field(
        0.0, ge=0, description="L2 factor on id embeddings used in a batch"
    )
    patience: int = Field(
        2, ge=0, description="epochs without a better validation AUC before stopping"
    )
    seed: int = 1


class Evaluation(Section):
    """How results are judged."""

    bootstrap_resamples: int = Field(
        1000, ge=10, description="resamples of test users for the intervals"
    )
    bootstrap_seed: int = 0


class Arm(Section):
    """One arm of an experiment: a name and what it changes."""

    description: str = Field("", description="what people read about the arm")
    overrides: dict[str, object] = Field(
        default_factory=dict, description="dotted keys and their values"
    )


class Experiment(Section):
    """Backbones x arms x seeds."""

    backbones: tuple[str, ...] = ("din", "dcnv2")
    arms: dict[str, Arm] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (1, 2, 3)


class Serving(Section):
    """How the export is served."""

    model_name: str = "ranker"
    augmented_dtype: Literal["float32", "float16"] = Field(
        "float32", description="number format of the augmented vector tables"
    )


class Scenario(Section):
    """One scenario from raw logs to the served model."""

    name: str = Field(description="a short name for people")
    work_dir: str = Field(description="folder for TFRecords, vocabularies and manifests")
    run_dir: str | None = Field(
        None,
        description="folder of one training run; work_dir/runs/<backbone>_<arm>_seed<N> if empty",
    )
    data: Data
    split: Split = Split()
    knowledge: Knowledge
    prompts: Prompts = Prompts()
    generation: Generation = Generation()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    experiment: Experiment = Experiment()
    serving: Serving = Serving()

    def knowledge_sources(self) -> tuple[str, ...]:
        """Names of the knowledge sources that the model reads.

        These are the sources of the adapter, and the match source when the model has a match.
        """
        sources = self.knowledge.sources if self.model.adapter != "none" else ()
        match = () if self.model.match == "none" else (self.model.knowledge_match.source,)
        return tuple(dict.fromkeys([*sources, *match]))

    @model_validator(mode="after")
    def _match_source_is_known(self) -> Scenario:
        if self.model.match != "none":
            source = self.model.knowledge_match.source
            answers = self.knowledge.answers.get(source)
            if answers is None or answers.entity != "item":
                raise ValueError(
                    f"model.knowledge_match.source '{source}' must be an item source "
                    "of knowledge.answers"
                )
        return self
