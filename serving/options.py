"""The options of the commands of serving: what each means, its range and its default."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from configs.loading import ConfigurationError, nothing_there
from configs.section import Metavar, OneOf, PositiveSeconds, Seconds, Section, TakesEffect
from configs.serving import IdType, NumberFormat

DEFAULT_PROOF_SAMPLES = 256
DEFAULT_CARD_ROWS = 200_000
"""What intervals of 1,000 resamples take seconds for."""

ProofExtent = Literal["full", "quick", "none"]
CardPart = Literal["validation", "test", "none"]

GRPC_SCHEMES = ("grpc", "grpcs")
ALL_SCHEMES = (*GRPC_SCHEMES, "http", "https")

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A number from 1 that the 32 bits of the C++ side can hold."""
_LARGEST_VERSION = 2**63 - 1
_LARGEST_RATE = 1_000_000
_MOST_CANDIDATES = 1_000_000


def require_base_path(base: Path, option: str) -> None:
    """Makes sure that a model base path is there, and is not the folder of one version.

    Args:
      base: the path.
      option: text before it on the command line.

    Raises:
      ConfigurationError: it is not; the message names the folder that is meant.
    """
    if not base.exists():
        raise ConfigurationError(f"{option.rstrip(' =')}: {nothing_there(base)}")
    if base.name.isdecimal() and (base / "saved_model.pb").is_file():
        raise ConfigurationError(
            f"{option}{base}: this is version {base.name} of a model; name the model base path "
            f"above it: {option}{base.parent}"
        )


IN_PLACE_OF_THE_RUNS = ("augmented_dtype", "id_type", "largest_request")
"""Options of an export that stand for those of the run's section `serving`."""


class ExportOptions(Section):
    """Options of an export."""

    augmented_dtype: NumberFormat | None = Field(
        None, description="in the place of the run's serving.augmented_dtype"
    )
    id_type: IdType | None = Field(None, description="in the place of the run's serving.id_type")
    largest_request: int | None = Field(
        None, description="in the place of the run's serving.largest_request"
    )
    proof: ProofExtent = Field(
        "full",
        description="ask the export on every way to load it before it is published; quick: as a "
        "SavedModel in Python and through TensorFlow's C API only",
    )
    proof_samples: Annotated[int, TakesEffect(".proof", unless=("none",))] = Field(
        DEFAULT_PROOF_SAMPLES, ge=1, description="validation examples that are asked"
    )
    card_part: CardPart = Field(
        "validation",
        description="part that the model card's metrics are of; test is to be read once, for the "
        "final model; none: no card is written",
    )
    card_rows: Annotated[int, TakesEffect(".card_part", unless=("none",))] = Field(
        DEFAULT_CARD_ROWS, ge=1, description="samples that these metrics are made from, at most"
    )


class RefreshOptions(Section):
    """Options of a refresh, beside how answers are read and checked."""

    model: Annotated[str, Metavar("BASE")] = Field(description="model base path")
    answers: Annotated[list[str], Metavar("NEW.jsonl")] = Field(
        [],
        description="answer files, .gz or not; they are checked as `preprocessing import` checks "
        "them",
    )
    vectors: Annotated[list[str], Metavar("FILE.parquet")] = Field(
        [],
        description="knowledge vectors made elsewhere, with entity_id and vector: .parquet, .npz "
        "or TFRecord files; extraction 'collective' marks ids of groups; needs --source",
    )
    source: str | None = Field(
        None, description="source, e.g. item or user, of files whose records do not name it"
    )
    forget_user: Annotated[list[str], Metavar("ID")] = Field(
        [], description="users whom the next version does not know any more"
    )
    forget_item: Annotated[list[str], Metavar("ID")] = Field(
        [], description="items that it does not know any more; not of a retrieval model"
    )
    version: int | None = Field(
        None,
        ge=1,
        description="version to go on from, by default the highest; the new one is always the "
        "highest",
    )
    dead_letters: Annotated[Path | None, Metavar("FILE.jsonl")] = Field(
        None,
        description="where rejected records go, with file, line, reason and detail; by default "
        "BASE/refresh_dead_letters.jsonl",
    )
    dry_run: bool = Field(False, description="only say what would change; write no version")
    strict: bool = Field(False, description="exit with code 3 when records were rejected")


class ServerOptions(Section):
    """How a local server works."""

    poll_seconds: Seconds = Field(
        1.0, description="pause between looks for new versions; 0 looks only at the start"
    )
    allow_version_labels_for_unavailable_models: bool = Field(
        False, description="new labels may name versions that are not available"
    )
    max_grpc_request_bytes: Count = Field(
        64 * 2**20,
        description="larger gRPC requests are refused, with RESOURCE_EXHAUSTED",
    )
    max_rest_request_bytes: Count = Field(
        64 * 2**20, description="larger bodies of REST requests are refused, with 413"
    )
    max_request_rows: Count = Field(
        20_000, description="rows, tf.Examples or candidates of a request; more are refused"
    )
    max_request_input_bytes: Count = Field(
        256 * 2**20,
        description="memory of a request's input tensors, however short its message is",
    )
    max_rest_connections: Count = Field(
        512,
        description="open at a time; for one more, the one that waits longest for its caller is "
        "closed, or where all are being answered the new one is refused with 503",
    )
    max_rest_connections_per_peer: Count = Field(256, description="the same from one address")
    rest_header_seconds: PositiveSeconds = Field(
        10.0,
        description="time for the header of a REST request, after which the connection is closed",
    )
    rest_body_seconds: PositiveSeconds = Field(
        60.0, description="time for its body, and for an answer to be read; likewise"
    )
    rest_keep_alive_seconds: PositiveSeconds = Field(
        5.0,
        description="time between an answer and the next REST request of a connection; likewise",
    )
    grpc_threads: Count = Field(16, description="gRPC requests that are answered at a time")
    max_grpc_requests: Count = Field(
        1024,
        description="gRPC requests that are answered or wait for it; one more is refused, with "
        "RESOURCE_EXHAUSTED",
    )
    grace_seconds: Seconds = Field(
        5.0, description="how long requests under way may take when the server stops"
    )


class ServeOptions(ServerOptions):
    """Options of the command that runs a local server, beside its models."""

    version_policy: Annotated[str | None, Metavar("POLICY")] = Field(
        None,
        description="versions of every --model: latest:N, all, or specific:V,V; latest:1 "
        "if left out",
    )
    model_config_poll_seconds: Seconds = Field(
        0.0,
        description="pause between looks at the file of --model-config; 0 looks only at the start",
    )
    grpc_port: Annotated[int, Metavar("P")] = Field(
        8500, ge=0, le=65535, description="0 picks a free one"
    )
    rest_port: Annotated[int, Metavar("P")] = Field(
        8501, ge=0, le=65535, description="0 picks a free one"
    )
    host: Annotated[str, Metavar("HOST")] = Field(
        "127.0.0.1", description="address to listen on; 127.0.0.1 is for this machine only"
    )
    ssl_config_file: Annotated[str | None, Metavar("FILE")] = Field(
        None,
        description="a certificate for both ports: TensorFlow Serving's SSLConfig as text",
    )
    batching_parameters_file: Annotated[str | None, Metavar("FILE")] = Field(
        None,
        description="TensorFlow Serving's BatchingParameters as text, instead of the options of "
        "batching",
    )


class BatchingOptions(Section):
    """TensorFlow Serving's batching; without a value its default."""

    max_batch_size: Count | None = Field(None, description="rows of a batch")
    batch_timeout_micros: int | None = Field(
        None, ge=0, description="how long a request waits for company"
    )
    allowed_batch_sizes: Annotated[tuple[Count, ...] | None, Metavar("N,N")] = Field(
        None, description="sizes that batches are filled up to; the last is --max-batch-size"
    )
    num_batch_threads: Count | None = Field(None, description="batches that run at a time")
    max_enqueued_batches: Count | None = Field(None, description="batches that may wait")
    pad_variable_length_inputs: bool = Field(
        False, description="merge inputs of different lengths too"
    )


def _check_target(text: str, schemes: tuple[str, ...]) -> str:
    """Refuses what is no SCHEME://HOST:PORT with one of some schemes."""
    try:
        address = urlsplit(text)
        is_complete = bool(address.hostname) and address.port is not None
    except ValueError:
        is_complete = False
    if not is_complete or address.scheme not in schemes:
        plain = [scheme for scheme in schemes if not scheme.endswith("s")]
        forms = " or ".join(f"{scheme}://HOST:PORT" for scheme in plain)
        raise ValueError(f"expected {forms}")
    return text


class RequestOptions(Section):
    """Which model of which server is asked, how long to wait, and how requests are read."""

    target: Annotated[
        str, AfterValidator(partial(_check_target, schemes=ALL_SCHEMES)), Metavar("URL")
    ] = Field(
        description="the server: grpc://HOST:PORT or http://HOST:PORT; grpcs or https for an "
        "encrypted connection"
    )
    model: str = Field(description="the model's name there")
    version_label: Annotated[str | None, OneOf("version"), Metavar("LABEL")] = Field(
        None,
        description="ask the version with this label, e.g. stable; without it the highest one "
        "answers, which may be a canary",
    )
    model_version: Annotated[int | None, OneOf("version")] = Field(
        None, ge=1, le=_LARGEST_VERSION, description="ask this version"
    )
    timeout_seconds: PositiveSeconds = Field(10.0, description="how long to wait for an answer")
    root_certificates: Annotated[str | None, Metavar("FILE.pem")] = Field(
        None, description="authorities to check the server's certificate against"
    )
    client_certificate: Annotated[str | None, Metavar("FILE.pem")] = Field(
        None, description="this client's certificate, where the server asks for one"
    )
    client_key: Annotated[str | None, Metavar("FILE.pem")] = Field(
        None, description="its private key"
    )
    positive_rating: Annotated[float | None, Metavar("R")] = Field(
        None,
        description="a rating of at least this counts as liked, where a request leaves "
        "user_share_liked out; what the model was trained with, which it knows, if left out",
    )


class PredictOptions(RequestOptions):
    """Options of one request."""

    request: Annotated[str, Metavar("FILE.json")] = Field(
        description="the request; - reads standard input"
    )
    top: Annotated[int | None, Metavar("K")] = Field(None, ge=1, description="show only the K best")
    titles: Annotated[str | None, Metavar("FILE.parquet")] = Field(
        None,
        description="item attributes with the columns item_id and title, to show titles",
    )
    explain: int | None = Field(
        None,
        ge=1,
        description="show the N items of the history that move the knowledge match of each shown "
        "item most; needs --base",
    )
    base: Annotated[Path | None, Metavar("BASE")] = Field(
        None, description="model base path of the served model, whose tables --explain reads"
    )


class ExploreOptions(Section):
    """What the explorer shows, and where it listens."""

    compare: Annotated[list[Path], Metavar("RUN")] = Field(
        [],
        description="runs or exports to show beside it, the one without knowledge first",
    )
    config: Annotated[Path | None, Metavar("FILE.yaml")] = Field(
        None, description="the scenario that names the data; that of the first run if left out"
    )
    part: Literal["validation", "test"] = Field(
        "validation",
        description="part of the samples that are shown; test is to be looked at once, for the "
        "final model",
    )
    host: Annotated[str, Metavar("HOST")] = Field(
        "127.0.0.1", description="address to listen on; 127.0.0.1 is for this machine only"
    )
    port: Annotated[int, Metavar("P")] = Field(
        8600, ge=0, le=65535, description="0 picks a free one"
    )


class Schedule(Section):
    """How the requests of a load test arrive."""

    arrivals: Literal["poisson", "even"] = Field(
        "poisson", description="poisson: like independent users; even: equal gaps"
    )
    seconds: PositiveSeconds = Field(
        10.0, description="measured seconds at each rate; a p99 needs some hundred requests"
    )
    warmup_seconds: Seconds = Field(2.0, description="seconds before them that are not counted")
    in_flight: int = Field(
        512, ge=1, description="requests under way at most; what is due meanwhile waits"
    )
    timeout_seconds: PositiveSeconds = Field(1.0, description="how long to wait for an answer")
    seed: int = Field(1, ge=0, description="of arrivals and candidates")


class LoadTestOptions(Schedule, RequestOptions):
    """Options of a load test: what is measured, how requests arrive, and where they come from."""

    target: Annotated[
        str, AfterValidator(partial(_check_target, schemes=GRPC_SCHEMES)), Metavar("URL")
    ] = Field(description="the server: grpc://HOST:PORT; grpcs for an encrypted connection")
    signature: Literal["rank", "serving_default"] = Field(
        "rank",
        description="rank: one user and the candidates; serving_default: the user repeated for "
        "each candidate",
    )
    candidates: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MOST_CANDIDATES)], ...], Metavar("N,N")
    ] = Field((1, 10, 100), description="candidates per request, measured one after the other")
    rate: Annotated[
        tuple[Annotated[float, Field(gt=0, le=_LARGEST_RATE)], ...], Metavar("R,R"), OneOf("load")
    ] = Field(
        (20.0,), description="arrival rates, requests per second, measured one after the other"
    )
    find_limit: Annotated[float | None, Metavar("MS"), OneOf("load")] = Field(
        None,
        gt=0,
        description="search for the highest rate whose p99 is at most MS milliseconds",
    )
    highest_rate: Annotated[float, Metavar("R"), TakesEffect(".find_limit", unless=(None,))] = (
        Field(2000.0, gt=0, le=_LARGEST_RATE, description="--find-limit does not try more")
    )
    positive_rating: Annotated[
        float | None, Metavar("R"), TakesEffect(".requests", unless=(None,))
    ] = Field(
        None,
        description="with --requests: a rating of at least this counts as liked, where a request "
        "leaves user_share_liked out; what the model was trained with, if left out",
    )
    requests: Annotated[str | None, Metavar("FILE.jsonl"), OneOf("source")] = Field(
        None, description="requests as `predict` takes them, one JSON object a line"
    )
    examples: Annotated[str | None, Metavar("DIR"), OneOf("source")] = Field(
        None, description="users of the test examples of a work directory or run"
    )
    made_up: Annotated[
        tuple[Count, Count],
        Metavar("USERS,ITEMS"),
        OneOf("source"),
    ] = Field((1_000_000, 100_000), description="ids from 1 to so many")
    distinct: Annotated[Count, TakesEffect(".requests", (None,))] = Field(
        256, description="different users of --examples and --made-up; they take turns"
    )
    out: Annotated[str | None, Metavar("DIR")] = Field(
        None, description="write results.json, latencies.csv and latency.svg there"
    )
