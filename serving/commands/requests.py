"""The commands that ask a server: `predict` and `loadtest`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from configs.command_line import (
    CommandError,
    Subparsers,
    add_field_options,
    add_json_option,
    say,
    section_of,
    set_up_tensorflow,
)
from configs.files import require_folder_name
from configs.loading import ConfigurationError, require_there
from configs.text_table import aligned
from serving.options import GRPC_SCHEMES, LoadTestOptions, PredictOptions, RequestOptions

if TYPE_CHECKING:
    import numpy as np

    from serving.client.connection import Tls
    from serving.client.errors import RankingError
    from serving.client.grpc_client import RankingClient
    from serving.client.inputs import UserRequest
    from serving.client.rest_client import RestRankingClient
    from serving.loadtest.load_test import Limit, LoadTest, RateMeasurement
    from serving.loadtest.requests import RequestSource


def read_request(path: str, positive_rating: float | None) -> tuple[UserRequest, list[str] | None]:
    """Reads a request from a JSON file, or from standard input when the path is `-`.

    Args:
      path: the file.
      positive_rating: a rating of at least this counts as positive in statistics that are missing;
        None leaves it to the model.

    Returns:
      The user, and the candidates' ids; None when the request names no candidates.

    Raises:
      CommandError: the request is malformed; the message names the file and the field.
      OSError: the file cannot be read.
    """
    from serving.client.requests import parse_request

    where = name_of(path)
    body = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{where}: not valid JSON ({error})") from error
    try:
        return parse_request(document, positive_rating)
    except CommandError as error:
        raise CommandError(f"{where}: {error}") from error


def name_of(path: str) -> str:
    """What messages call the request: the path, or standard input for `-`."""
    return "standard input" if path == "-" else path


def client_of(
    options: RequestOptions, timeout_seconds: float | None = None
) -> RankingClient | RestRankingClient:
    """A client for the target, over the transport that it names.

    Args:
      options: name the target.
      timeout_seconds: deadline of a call; `--timeout-seconds` if None.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
      OSError: a certificate cannot be read.
    """
    from serving.client import Connection, RankingClient, RestRankingClient

    address = urlsplit(options.target)
    deadline = options.timeout_seconds if timeout_seconds is None else timeout_seconds
    if address.scheme in GRPC_SCHEMES:
        return RankingClient(
            address.netloc,
            options.model,
            deadline,
            model_version=options.model_version,
            version_label=options.version_label,
            connection=Connection(tls=tls_of(options)),
        )
    return RestRankingClient(
        options.target,
        options.model,
        deadline,
        model_version=options.model_version,
        version_label=options.version_label,
        tls=tls_of(options),
    )


def tls_of(options: RequestOptions) -> Tls | None:
    """Certificates for the target; None where it is not encrypted.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
    """
    from serving.client import Tls

    files = (options.root_certificates, options.client_certificate, options.client_key)
    if not urlsplit(options.target).scheme.endswith("s"):
        if any(files):
            raise ConfigurationError(
                f"certificates need an encrypted target, grpcs:// or https://. Received: "
                f"--target {options.target}"
            )
        return None
    try:
        return Tls(*files)
    except ValueError as error:
        raise ConfigurationError(
            "--client-certificate and --client-key: give both or neither"
        ) from error


_PREDICT_HELP = """\
Asks a server to rank candidates for one user and prints them, best first. Without candidates it
asks a retrieval model for the best of all items that are not in the history. A model of several
tasks gives a score_<task> of each further one beside the score, which decides the order.

The request is a JSON object:
  {"user_id": "42", "candidates": ["50", "318"],
   "history_item_id": ["296", "527"], "history_rating": [5.0, 3.5],
   "user_share_liked": 0.5, "user_mean_rating": 4.25, "user_log_count": 1.1,
   "profile": {"age": 31, "genres": ["Drama", "Comedy"]}}
The history is newest last and may be empty. A model of implicit feedback reads no ratings: leave
history_rating out. The three statistics may be left out; they are then computed from the given
history: the share of liked items (the model knows from which rating on an item is liked), the mean
rating, and log(1 + count). The profile has the user's attributes where the model reads any: a
number, a string or several; what is left out is not known.

An item whose id makes no difference to its score is marked as unknown to the model, and a user
whose id makes none as one of whom the model knows only what the request says.

--explain N says what moves the knowledge match of a shown item: the ridge's mean, in units of a
rating, is a sum over the history, and by its part of the sum it would be another one had the user
thought of that item what others do. It is computed from the tables of the version that answered, in
--base.

The server is TensorFlow Serving or `python -m serving serve`. Only --explain needs TensorFlow.
"""

_PREDICT_EXAMPLES = """\
examples:
  python -m serving predict --target grpc://127.0.0.1:8500 --model movies --request user.json
  python -m serving predict --target grpc://127.0.0.1:8500 --model movies --version-label stable \
      --request user.json
  python -m serving predict --target http://127.0.0.1:8501 --model movies --request - --json
  python -m serving predict --target grpc://127.0.0.1:8500 --model movies --request user.json \
      --explain 3 --base out/export
"""


def add_predict(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "predict",
        help="ranks or retrieves items for a user through a server",
        description=_PREDICT_HELP,
        epilog=_PREDICT_EXAMPLES,
    )
    add_field_options(parser, PredictOptions)
    add_json_option(parser)
    parser.set_defaults(run=_predict)


def _predict(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Ranks and prints.

    Args:
      arguments: as parsed by the command's parser.

    Returns:
      `{"model", "version", "known_user", "ranking": [{"item_id", "title", "known", "score"}]}`,
      best first. The version is the one that answered; over REST, which does not tell, the one that
      is available. A title is null when it is not known. `known` says whether the model knows an
      item; it is null of a re-ranker, which scores items in each other's presence. `known_user`
      says whether the user's id makes a difference. A model of
      several tasks gives `score_<task>` of each further one.
      With `--explain` each has `match`: source -> `mean`, null where the source does not know the
      item, `contributions` of `item_id`, `title`, `rating` and `contribution`, the largest first,
      and `others`, what the rest of the history adds up to.

    Raises:
      ConfigurationError: the match cannot be explained, see `match_contributions`; `--titles` is
        missing; or `--base` is missing or has not the version that answered.
      CommandError: the request is malformed, or the server cannot be asked.
    """
    from serving.client.errors import ProfileError, RankingError

    options = section_of(arguments, PredictOptions)
    if (options.explain is None) != (options.base is None):
        raise ConfigurationError(
            "--explain and --base: give both or neither; --base is the folder of the model's "
            "versions that the server serves, such as out/export"
        )
    if options.titles:
        require_there(options.titles)
    user, candidates = read_request(options.request, options.positive_rating)
    try:
        with client_of(options) as client:
            if candidates is None:
                retrieved = client.retrieve(user)
                items, scores, version = retrieved.item_ids, retrieved.scores, retrieved.version
                columns = {"score": scores}
                known_items: list[bool | None] = [True] * len(items)
                others = client.retrieve(dataclasses.replace(user, user_id=_NOBODY))
                known_user = others.item_ids != items or _differ(others.scores, scores).any()
            else:
                items = candidates
                scores, tasks, version = client.ask(user, candidates)
                task_scores = {f"score_{task}": values for task, values in tasks.items()}
                columns = {"score": scores, **task_scores}
                known_items = _known_items(client, user, scores)
                nobody = client.ask(dataclasses.replace(user, user_id=_NOBODY), candidates)
                known_user = _differ(nobody.scores, scores).any()
            if version is None:
                version = client.served_version()
    except ProfileError as error:
        raise CommandError(
            f"{name_of(options.request)}: field 'profile.{error.attribute}' {error.reason}"
        ) from error
    except RankingError as error:
        raise CommandError(f"{error} [{error.code}]{_advice(error, candidates)}") from error
    # Retrieved items come best first already, and equal scores keep their order.
    best_first = sorted(range(len(items)), key=lambda index: -scores[index])[: options.top]
    shown = [items[index] for index in best_first]
    titled = [*shown, *map(str, user.history_item_id if options.explain else ())]
    titles = read_titles(options.titles, titled) if options.titles else {}
    ranking: list[dict[str, Any]] = [
        {
            "item_id": items[index],
            "title": titles.get(items[index]),
            "known": known_items[index],
            **{name: float(values[index]) for name, values in columns.items()},
        }
        for index in best_first
    ]
    if options.explain is not None and options.base is not None:
        explained = _explain(options.base / str(version), user, shown, titles, options.explain)
        for row, match in zip(ranking, explained, strict=True):
            row["match"] = match
    unknown = "" if known_user else ", of whom the model knows only what the request says"
    _print_table(
        f"{options.model} version {version}, user {user.user_id}{unknown}", ranking, list(columns)
    )
    for row in ranking:
        _print_match(row)
    return {
        "model": options.model,
        "version": version,
        "known_user": bool(known_user),
        "ranking": ranking,
    }


_NOBODY = ""
"""An id that nobody has, in every model."""

_EQUAL = 1e-7
"""Two scores that are nearer to each other are of the same inputs: about one step of a float32."""


def _differ(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    return abs(scores.astype("float64") - others) > _EQUAL


def _known_items(
    client: RankingClient | RestRankingClient, user: UserRequest, scores: np.ndarray
) -> list[bool | None]:
    """Whether the model tells each candidate from one that it knows nothing about.

    The same number of items that nobody has is ranked in the candidates' places. Only a model that
    scores each candidate alone can be asked so; None of others.
    """
    from serving.client.errors import RankingError

    try:
        client.input_kinds("classify")
    except RankingError:
        return [None] * len(scores)
    unknown_scores = client.ask(user, [_NOBODY] * len(scores)).scores
    return [bool(differs) for differs in _differ(unknown_scores, scores)]


def _explain(
    version_folder: Path,
    user: UserRequest,
    items: Sequence[str],
    titles: Mapping[str, str],
    most: int,
) -> list[dict[str, Any]]:
    """What `run` gives as `match` of each item."""
    if not version_folder.is_dir():
        raise ConfigurationError(
            f"--base {version_folder.parent}: has no version {version_folder.name}, which "
            "answered; name the model base path that the server serves"
        )
    set_up_tensorflow()
    from serving.match_explanation import match_contributions

    history = [str(item) for item in user.history_item_id]
    explanations: list[dict[str, Any]] = [{} for _ in items]
    for source, match in match_contributions(version_folder, user, items).items():
        for explanation, is_known, values in zip(
            explanations, match.is_known, match.values, strict=True
        ):
            pairs = zip(match.history.tolist(), values.tolist(), strict=True)
            largest_first = sorted(pairs, key=lambda pair: -abs(pair[1])) if is_known else []
            explanation[source] = {
                "mean": math.fsum(value for _, value in largest_first) if is_known else None,
                "contributions": [
                    {
                        "item_id": history[entry],
                        "title": titles.get(history[entry]),
                        "rating": user.history_rating[entry] if user.history_rating else None,
                        "contribution": value,
                    }
                    for entry, value in largest_first[:most]
                ],
                "others": math.fsum(value for _, value in largest_first[most:]),
            }
    return explanations


def read_titles(path: str, items: Sequence[str]) -> dict[str, str]:
    """Reads the titles of some items.

    Args:
      path: a Parquet file with the string columns `item_id` and `title`.
      items: the ids to look up.

    Returns:
      Item id -> title, without items whose title is empty or not in the file.

    Raises:
      CommandError: the file is not Parquet or lacks a column.
      OSError: the file cannot be read.
    """
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    columns = ["item_id", "title"]
    try:
        present = pyarrow.parquet.read_schema(path).names
    except pyarrow.ArrowException as error:
        raise CommandError(f"{path}: not a Parquet file ({error})") from error
    for column in columns:
        if column not in present:
            raise CommandError(f"{path}: has no column '{column}'")
    table = pyarrow.parquet.read_table(path, columns=columns)
    table = table.filter(
        pyarrow.compute.is_in(
            table["item_id"].cast(pyarrow.string()),
            value_set=pyarrow.array(list(items), pyarrow.string()),
        )
    )
    pairs = zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)
    return {str(item): title for item, title in pairs if title}


def _advice(error: RankingError, candidates: Sequence[str] | None) -> str:
    """What to do when the model is of another kind than the request."""
    text = str(error).lower()
    # An input or output that a signature lacks is an "alias ... not found".
    has_no_signature = "signature" in text and "not found" in text and " alias" not in text
    if error.code not in ("FAILED_PRECONDITION", "INVALID_ARGUMENT") or not has_no_signature:
        return ""
    if candidates is None:
        return "\nOnly retrieval models answer without the field 'candidates'"
    return "\nLeave out the field 'candidates': this model does not rank, it retrieves"


def _print_table(
    heading: str, ranking: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> None:
    """Prints the ranking for people.

    Args:
      heading: the first line.
      ranking: rows, best first.
      columns: the scores among their keys.
    """
    say(heading)
    for line in aligned(
        ["rank", *columns, "item", "title"],
        [
            [
                str(position),
                *(f"{row[name]:.4f}" for name in columns),
                str(row["item_id"]),
                str(row["title"] or "-") if row["known"] is not False else "unknown to the model",
            ]
            for position, row in enumerate(ranking, start=1)
        ],
        numbers=range(1 + len(columns)),
    ):
        say(line)


def _print_match(row: Mapping[str, Any]) -> None:
    """Prints what moves the match of one item of the ranking, where that was asked for."""
    for source, match in row.get("match", {}).items():
        named = f"\n{row['item_id']} {row['title'] or ''}".rstrip()
        if match["mean"] is None:
            say(f"{named}: {source} does not know it")
            continue
        say(f"{named}: {source} {match['mean']:+.3f}")
        lines = [
            [
                f"{one['contribution']:+.3f}",
                "" if one["rating"] is None else f"{one['rating']:g}",
                one["item_id"],
                one["title"] or "-",
            ]
            for one in match["contributions"]
        ]
        lines.append([f"{match['others']:+.3f}", "", "", "all others"])
        for line in aligned(["adds", "rating", "item", "title"], lines, numbers=range(2)):
            say(line)


_LOADTEST_HELP = """\
Sends ranking requests at fixed arrival rates and reports latency and throughput.

The test is an open loop: requests are due at times that do not depend on the server, as users'
requests are, none is left out, and latency counts from when a request was due. A server that stops
for a second therefore shows in all requests that were due in that second. A test that waits for
each answer before it asks again would show it in one ("coordinated omission").

The generator is a process of its own. It reports how late it was itself, and marks measures that it
may have set rather than the server. Requests come from a file, from test examples, or are made up.
"""

_LOADTEST_EXAMPLES = """\
examples:
  python -m serving loadtest --target grpc://127.0.0.1:8500 --model movies --rate 50,100,200 \\
      --examples out/demo --out out/load
  python -m serving loadtest --target grpc://127.0.0.1:8500 --model movies --candidates 100 \\
      --find-limit 20 --json
"""

# A first request may be slow; it is not measured.
_PATIENCE_SECONDS = 30.0


def add_loadtest(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "loadtest",
        help="measures latency and throughput of a server",
        description=_LOADTEST_HELP,
        epilog=_LOADTEST_EXAMPLES,
    )
    add_field_options(parser, LoadTestOptions)
    add_json_option(parser)
    parser.set_defaults(run=_loadtest)


def _loadtest(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Measures and prints.

    Args:
      arguments: as parsed by the command's parser.

    Returns:
      `{"model", "version", "signature", "requests", "arrivals", "seconds", "warmup_seconds",
      "deadline_seconds", "seed", "machine", "same_machine", "measures", "limits", "warnings"}`.

    Raises:
      ConfigurationError: `--out` is a file.
      CommandError: requests cannot be read, or the server cannot be asked.
    """
    from serving.client.errors import RankingError
    from serving.client.inputs import ModelInputs
    from serving.loadtest.load_test import LoadTest, is_this_machine
    from serving.loadtest.report import machine, measure_record, table, warnings, write_report
    from serving.loadtest.requests import check_response

    options = section_of(arguments, LoadTestOptions)
    if options.out:
        require_folder_name("--out", Path(options.out))
    source = _source(options)
    try:
        with client_of(options, max(options.timeout_seconds, _PATIENCE_SECONDS)) as client:
            version = client.wait_until_ready(options.timeout_seconds)
            model_inputs = ModelInputs.of_kinds(client.input_kinds(options.signature))
            source.require_usable(model_inputs)
            for candidates in options.candidates:
                check_response(client, source, options.signature, candidates)
            address = client.address
    except RankingError as error:
        raise CommandError(f"{error} [{error.code}]") from error
    test = LoadTest(address, model_inputs, source, options.signature, options, tls_of(options))
    measures, limits = _measured(test, options)
    target = urlsplit(options.target)
    same_machine = is_this_machine(target.hostname or "", target.port or 0)
    warned = warnings(measures, same_machine)
    say(f"{options.model} version {version}, {options.signature}, {source.description}")
    for line in (
        *table(measures),
        *_limit_lines(limits, options),
        *(f"note: {warning}" for warning in warned),
    ):
        say(line)
    result = {
        "model": options.model,
        "version": version,
        "signature": options.signature,
        "requests": source.description,
        "arrivals": options.arrivals,
        "seconds": options.seconds,
        "warmup_seconds": options.warmup_seconds,
        "deadline_seconds": options.timeout_seconds,
        "in_flight": options.in_flight,
        "seed": options.seed,
        "machine": machine(),
        "same_machine": same_machine,
        "measures": [measure_record(measure) for measure in measures],
        "limits": [
            {
                "candidates": candidates,
                "p99_limit_ms": options.find_limit,
                **dataclasses.asdict(limit),
            }
            for candidates, limit in limits.items()
        ],
        "warnings": warned,
    }
    if options.out:
        write_report(
            Path(options.out),
            result,
            measures,
            options.warmup_seconds,
            options.timeout_seconds,
        )
    return result


def _measured(
    test: LoadTest, options: LoadTestOptions
) -> tuple[list[RateMeasurement], dict[int, Limit]]:
    """All measures, and the limit found for each number of candidates."""
    measures: list[RateMeasurement] = []
    limits: dict[int, Limit] = {}
    for candidates in options.candidates:
        if options.find_limit is None:
            measures += test.measure(candidates, options.rate)
            continue
        limits[candidates], tried = test.find_limit(
            candidates,
            options.find_limit,
            highest_rate=options.highest_rate,
            progress=_say_progress,
        )
        measures += tried
    return measures, limits


def _say_progress(measure: RateMeasurement) -> None:
    say(
        f"{measure.candidates} candidates at {measure.rate:.4g}/s: "
        f"p99 {measure.summary.latency_ms.p99:g} ms"
    )


def _limit_lines(limits: Mapping[int, Limit], options: LoadTestOptions) -> list[str]:
    return [
        f"{candidates} candidates: p99 is at most {options.find_limit:g} ms up to "
        f"{limit.rate:.4g} requests/s"
        + (
            f", not at {limit.exceeded:.4g}"
            if limit.exceeded is not None
            else ", the highest tried"
        )
        for candidates, limit in limits.items()
    ]


def _source(options: LoadTestOptions) -> RequestSource:
    from serving.loadtest.requests import requests_of_examples, requests_of_file, synthetic_requests

    if options.requests:
        return requests_of_file(options.requests, options.positive_rating)
    if options.examples:
        require_there(options.examples)
        return requests_of_examples(options.examples, options.distinct)
    users, items = options.made_up
    return synthetic_requests(users, items, options.distinct, options.seed)
