"""LLM knowledge: where the answers are, and how they become knowledge vectors."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from configs.section import (
    EnvironmentVariable,
    Role,
    Section,
    TakesEffect,
    named_once,
    split_names,
    variable_names,
)

Seen = Literal["first_interactions", "training"]
"""What an LLM saw of the users' interactions, see `SourceAnswers.seen`."""


class Grouping(Section):
    """How the entities of a source are grouped for collective extraction."""

    features: tuple[Literal["co_occurrence", "attributes", "text"], ...] = Field(
        ("co_occurrence", "attributes"),
        description="what makes entities alike: interactions in common, attributes, title words",
    )
    maximum_size: int = Field(80, ge=2, description="entities of a group, at most")
    dimension: int = Field(64, ge=2, description="width of each kind of feature")
    seed: int = Field(0, ge=0, description="seed of the clustering")

    @model_validator(mode="after")
    def _has_features(self) -> Grouping:
        if not self.features or len(set(self.features)) != len(self.features):
            raise ValueError("'features' needs at least one kind, and each kind once")
        return self


class RandomVectors(Section):
    """Fixed random vectors in the place of knowledge: an identity that knows nothing."""

    dimension: int = Field(384, ge=2, description="width of the vectors")
    seed: int = Field(0, ge=0, description="seed of the vectors")


class CollaborativeVectors(Section):
    """Item vectors made from training interactions: the baseline that knowledge has to beat."""

    dimension: int = Field(64, ge=2, description="components of the factorised ratings, at most")
    seed: int = Field(0, ge=0, description="seed of the user folds and of the factorisation")


class Links(Section):
    """How names of items in answers become links, and links knowledge vectors."""

    names: int = Field(
        10,
        ge=1,
        description="names that are asked for and read, the first ones; user sources: items that "
        "the user would love",
    )
    disliked_names: Annotated[int, TakesEffect("..entity", ("user",))] = Field(
        5, ge=1, description="user sources: the same for items that the user would not like"
    )
    until: Annotated[str | None, Role.NO_RECORDS] = Field(
        None,
        json_schema_extra={"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        description="year, month or day, such as 2016 or 2019-11-14: prompts ask for items that "
        "were there by then; if empty, for any",
    )
    year: str | None = Field(
        None,
        description="attribute of data.catalogue.attributes with the year of an item; if empty, "
        "'year' where there is one, else the year in brackets at the end of the title",
    )
    year_tolerance: int = Field(
        1, ge=0, description="a name with a year means an item whose year differs by no more"
    )
    near: float = Field(
        94.0,
        gt=0,
        le=100,
        description="least similarity of a name and the title that it nearly is (rapidfuzz's "
        "ratio, 0 to 100)",
    )
    mine: tuple[str, ...] = Field(
        (),
        description="item sources whose individual answers are prose: titles that these mention "
        "are links, too",
    )
    dimension: int = Field(
        128, ge=2, description="width of the knowledge vectors, eigenvectors of the graph of links"
    )
    damping: Annotated[float, Role.LATER] = Field(
        0.9,
        gt=0,
        lt=1,
        description="how far vectors look along links: the nearer to 1, the more links of links",
    )
    smoothness: Annotated[float, Role.LATER] = Field(
        1.0,
        ge=1,
        le=4,
        description="of vectors over the graph of links: the larger, the less a single link counts "
        "beside what many share",
    )

    @field_validator("until", mode="before")
    @classmethod
    def _until_is_a_date(cls, until: object) -> object:
        text = str(until) if isinstance(until, int | datetime.date) else until
        if isinstance(text, str) and not re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", text):
            raise ValueError(f"'{text}' is no year, month or day such as 2016 or 2019-11-14")
        return text

    @property
    def most_names(self) -> dict[str, int]:
        """Kind of list -> names of it that are asked for and read."""
        return {"links": self.names, "liked": self.names, "disliked": self.disliked_names}

    _split_mine = field_validator("mine", mode="before")(split_names)
    _each_source_once = field_validator("mine")(named_once)


class SourceAnswers(Section):
    """Where the vectors of one knowledge source come from: answers of an LLM, or a control."""

    entity: Literal["item", "user"] = Field(description="what the source's ids are")
    individual: list[str] = Field(
        default_factory=list,
        description="answer files (.jsonl, .jsonl.gz, .parquet), one answer per entity",
    )
    collective: list[str] = Field(
        default_factory=list, description="answer files with one answer per group of entities"
    )
    vectors: list[str] = Field(
        default_factory=list,
        description="knowledge vectors made elsewhere, in place of answers: .parquet, .npz or "
        "TFRecord files with entity_id and vector",
    )
    metadata: tuple[str, ...] = Field(
        (),
        description="item sources: plain text of the catalogue in place of answers: 'title' and "
        "names of data.catalogue.attributes, in the order of the text",
    )
    random: RandomVectors | None = Field(
        None, description="random vectors in place of answers, one per item or user"
    )
    collaborative: CollaborativeVectors | None = Field(
        None,
        description="item sources: vectors of training interactions in place of answers, "
        "cross-fitted by user fold; for knowledge match",
    )
    groups: str | None = Field(
        None,
        description="CSV with two columns, <entity>_id and group_id; needed for collective answers "
        "unless 'grouping' makes the groups",
    )
    grouping: Grouping | None = Field(
        None,
        description="the groups are made by 'python -m preprocessing group', from interactions "
        "before k_u only",
    )
    factor: str | None = Field(
        None, description="structured answers: the field of the JSON answer to encode"
    )
    factors: tuple[str, ...] = Field(
        (),
        description="structured answers: encode each of these fields apart; stands for the sources "
        "<source>_<factor>",
    )
    links: Links | None = Field(
        None,
        description="the answers are lists of names of items, such as "
        '{"links": ["The Matrix", ...]}, about users {"liked": [...], "disliked": [...]}; '
        "'factor' names another field than links, and the field of an answer that holds prose, too",
    )
    history_entry_pattern: Annotated[
        str | None,
        TakesEffect(".entity", ("user",)),
        TakesEffect(".individual", unless=([],)),
    ] = Field(
        None,
        description="user sources: regular expression matching once per interaction shown in a "
        "prompt; lets the leak check look up what the LLM saw of each user. It matches the whole "
        "entry, its end, or a part of a line that holds nothing else. A user source is unverified "
        "without it, and when an answer in use has no prompt, or one with an entry that is none "
        "of the user's",
    )
    groups_verified: Annotated[bool, TakesEffect(".collective", unless=([],))] = Field(
        False,
        description="declares that the groups were built from interactions before k_u only; "
        "nothing checks it",
    )
    seen: Seen = Field(
        "first_interactions",
        description="what of the log the answers, groups or vectors were made from. "
        "first_interactions: each user's first k_u; training: the training part, as published "
        "answers often are, which is declared and, where prompts can be looked up, checked. "
        "Training samples may then be among what the LLM saw; validation and test samples not",
    )

    _split_metadata = field_validator("metadata", mode="before")(split_names)

    @field_validator("history_entry_pattern")
    @classmethod
    def _is_a_regular_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return pattern

    @property
    def is_encoded(self) -> bool:
        """True when the vectors are made of texts, by the encoder."""
        has_texts = bool(self.individual or self.collective or self.metadata)
        return has_texts and self.links is None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths and patterns of answers and vectors that others make, an LLM for example."""
        return (*self.individual, *self.collective, *self.vectors)

    @property
    def may_show_interactions(self) -> bool:
        """True when users' interactions may be in it, so that they must not be samples.

        Prompts about users show them, and groups and vectors made elsewhere may be made from them.
        """
        about_users = self.entity == "user" and bool(self.individual)
        return about_users or bool(self.collective) or bool(self.vectors)

    @property
    def is_prose_about_items(self) -> bool:
        """True when there are answers about single items that are no lists of names."""
        return self.entity == "item" and bool(self.individual) and self.links is None

    @model_validator(mode="after")
    def _answers_fit_together(self) -> SourceAnswers:
        in_place_of_answers = [
            name
            for name in ("vectors", "metadata", "random", "collaborative")
            if getattr(self, name)
        ]
        # Of vectors made elsewhere, 'groups' says which groups their entities belong to.
        group_options = () if self.vectors else ("groups", "grouping")
        about_answers = [
            name
            for name in ("individual", "collective", "factor", "factors", *group_options)
            if getattr(self, name)
        ]
        if len(in_place_of_answers) > 1 or (in_place_of_answers and about_answers):
            first, *others = in_place_of_answers + about_answers
            raise ValueError(f"'{first}' stands in place of answers and excludes '{others[0]}'")
        if self.links is not None:
            for name in (*in_place_of_answers, "factors"):
                if getattr(self, name):
                    raise ValueError(f"'links' are lists of names and exclude '{name}'")
            for name in ("collective", "groups", "grouping"):
                if self.entity == "user" and getattr(self, name):
                    raise ValueError(f"'links' of users come from single answers, not '{name}'")
            if self.entity == "user" and self.links.mine:
                raise ValueError("'links.mine' is for item sources")
        mined = self.links is not None and self.links.mine
        if not (self.individual or self.collective or in_place_of_answers or mined):
            raise ValueError(
                "name at least one file under 'individual', 'collective' or 'vectors', or make "
                "vectors by 'metadata', 'random' or 'collaborative'; of links, 'links.mine' will do"
            )
        if self.entity == "user" and (self.metadata or self.collaborative):
            raise ValueError("'metadata' and 'collaborative' are for item sources")
        if self.collective and self.groups is None and self.grouping is None:
            raise ValueError(
                "'collective' answers need 'groups', the file that maps ids to group ids, or "
                "'grouping', which makes it"
            )
        if self.groups is not None and self.grouping is not None:
            raise ValueError("'groups' and 'grouping' exclude each other")
        if self.groups_verified and self.grouping is not None:
            raise ValueError(
                "'groups_verified' is for a 'groups' file of your own; leave it out beside "
                "'grouping', whose groups are built from interactions before k_u only"
            )
        if self.seen == "training" and self.groups_verified:
            raise ValueError(
                "'groups_verified' declares groups from interactions before k_u, 'seen: training' "
                "from the training part; leave one of them out"
            )
        if self.seen == "training" and in_place_of_answers not in ([], ["vectors"]):
            raise ValueError(
                f"'seen: training' is about answers or vectors from elsewhere, and "
                f"'{in_place_of_answers[0]}' is made here; leave 'seen' out"
            )
        if self.factor is not None and self.factors:
            raise ValueError("'factor' and 'factors' exclude each other")
        return self


IF_TOKENS = TakesEffect(".kind", ("minilm", "sentence-transformers"))
IF_TFIDF = TakesEffect(".kind", ("tfidf",))
IF_ENDPOINT = TakesEffect(".kind", ("endpoint",))
IF_NAMED_MODEL = TakesEffect(".kind", ("sentence-transformers", "endpoint"))


class Encoder(Section):
    """The text encoder that turns answers into knowledge vectors."""

    kind: Literal["minilm", "tfidf", "sentence-transformers", "endpoint"] = Field(
        "minilm",
        description="minilm: all-MiniLM-L6-v2 (int8, 384 numbers) on onnxruntime; "
        "tfidf: TF-IDF and truncated SVD fitted on the answers, no model file; "
        "sentence-transformers: any model of that library (pip install -r "
        "requirements-encoders.txt); endpoint: any OpenAI-compatible embeddings endpoint",
    )
    batch_size: Annotated[int, IF_NAMED_MODEL] = Field(
        8,
        ge=1,
        description="sentence-transformers, endpoint: texts per call (minilm reads one at a time)",
    )
    maximum_tokens: Annotated[int, IF_TOKENS] = Field(
        256, ge=8, description="minilm, sentence-transformers: tokens read at once"
    )
    long_texts: Annotated[Literal["cut", "chunk"], IF_TOKENS] = Field(
        "cut",
        description="minilm, sentence-transformers: texts of more tokens are cut, or read in "
        "chunks whose vectors are averaged by their tokens",
    )
    text: Annotated[
        Literal["answer", "answer_and_history", "history_and_answer"],
        TakesEffect("knowledge.answers.*.entity", ("user",)),
    ] = Field(
        "answer",
        description="user sources: encode the answer alone, or together with the history that its "
        "prompt shows (published: history first)",
    )
    pooling: Annotated[
        Literal["mean", "first", "maximum", "last"],
        TakesEffect(".kind", ("sentence-transformers",)),
    ] = Field("mean", description="sentence-transformers: how token vectors become one")
    dimension: Annotated[int, IF_TFIDF] = Field(
        256, ge=2, description="tfidf: width of the vectors"
    )
    seed: Annotated[int, IF_TFIDF] = Field(0, ge=0, description="tfidf: seed of the SVD")
    model: Annotated[str | None, IF_NAMED_MODEL] = Field(
        None, description="sentence-transformers: name or folder; endpoint: the model's name there"
    )
    base_url: Annotated[str | None, IF_ENDPOINT] = Field(
        None, description="endpoint: address, e.g. http://localhost:8000/v1; OpenAI if empty"
    )
    api_key_variable: Annotated[EnvironmentVariable, IF_ENDPOINT, Role.NO_RECORDS] = Field(
        "OPENAI_API_KEY", description="endpoint: environment variable that holds the key"
    )
    cache: Annotated[str | None, Role.NO_RECORDS] = Field(
        None,
        description="folder of vectors by the hash of their text, so that no text is encoded "
        "twice; work_dir/encoded_texts if empty",
    )

    @model_validator(mode="after")
    def _model_is_named(self) -> Encoder:
        if self.kind in ("sentence-transformers", "endpoint") and not self.model:
            raise ValueError(f"kind '{self.kind}' needs 'model', the name of the model")
        return self


class Knowledge(Section):
    """LLM knowledge: which sources the model uses and where their answers are."""

    sources: tuple[str, ...] = Field(
        ("item", "user"),
        description="sources that the adapter reads; names from 'answers'. If left out, item and "
        "user, as far as they are described",
    )
    answers: dict[str, SourceAnswers] = Field(
        default_factory=dict,
        description="answer files by source name; none for models without knowledge, the baseline",
    )
    encoder: Encoder = Encoder()
    shards: int = Field(2, ge=1, description="TFRecord files per source")

    _split_sources = field_validator("sources", mode="before")(split_names)
    _each_source_once = field_validator("sources")(named_once)

    @model_validator(mode="after")
    def _factors_are_sources(self) -> Self:
        answers: dict[str, SourceAnswers] = {}
        for source, described in self.answers.items():
            if not described.factors:
                answers[source] = described
            for factor in described.factors:
                name = f"{source}_{factor}"
                if name in self.answers:
                    raise ValueError(f"source '{name}' is a factor of '{source}' and described too")
                answers[name] = described.model_copy(update={"factor": factor, "factors": ()})
        self.__dict__["answers"] = variable_names(answers)
        return self

    @model_validator(mode="after")
    def _mined_sources_are_prose(self) -> Self:
        for source, described in self.answers.items():
            for mined in described.links.mine if described.links is not None else ():
                prose = self.answers.get(mined)
                if prose is None or not prose.is_prose_about_items:
                    raise ValueError(
                        f"answers.{source}.links.mine: '{mined}' must be an item source with "
                        "'individual' answers and without 'links'"
                    )
        return self

    @model_validator(mode="after")
    def _sources_have_answers(self) -> Self:
        if "sources" not in self.model_fields_set:
            there = tuple(source for source in self.sources if source in self.answers)
            self.__dict__["sources"] = there
        for source in self.sources:
            if source not in self.answers:
                names = ", ".join(sorted(self.answers)) or "none"
                raise ValueError(
                    f"source '{source}' is not described under 'answers' (there: {names})"
                )
        return self
