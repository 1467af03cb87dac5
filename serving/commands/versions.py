"""The commands that make what is served: `export`, `refresh` and `deploy`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    EXIT_CODES_HELP,
    add_dry_run_option,
    add_field_options,
    add_json_option,
    keys_help,
    say,
    section_of,
    set_up_tensorflow,
)
from configs.loading import ConfigurationError, load_section
from configs.serving import Serving
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.options import (
    add_form_options,
    add_quality_options,
    formats_help,
    quality_help,
)
from serving.deploy.rendering import (
    kubectl,
    left_behind,
    missing_version,
    next_steps,
    render,
    require_safe_labels,
    settings_in,
    write_files,
)
from serving.deploy.settings import Deployment
from serving.options import IN_PLACE_OF_THE_RUNS, ExportOptions, RefreshOptions

if TYPE_CHECKING:
    from configs.command_line import Subparsers


_EXPORT_HELP = """\
Writes the model of a finished run as the next version of a SavedModel: BASE/1, BASE/2, ...
Knowledge vectors and the adapter trained over them are replaced by tables of augmented vectors,
which a request looks up; knowledge match, where the model has it, is computed for every request. A
request carries raw ids and numbers, and what is known of the user's profile where the model reads
one.

signatures of ranking models:
  serving_default    one row per candidate
  rank               one user and any number of candidates; the user's side is computed once
  predict_examples, classify, regress
                     serialized tf.Example, for TensorFlow Serving's Predict, Classify and Regress
                     APIs
  Models of several tasks have an output score_<task> for each beside score.

of re-rankers, whose candidates are scored in each other's presence:
  serving_default    users and a list of candidates for each, completed by "", whose score is 0
  rank               one user and one list
  predict_examples   serialized tf.Example with a list of candidates

of retrieval models:
  serving_default, top_k
                     users to the 100 best of all items that are not in their history
  user_vectors, item_vectors
                     what the search multiplies, for an index of your own

example:
  python -m serving export RUN --out out/export
"""


def add_export(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "export", help="run folder to SavedModel version", description=_EXPORT_HELP
    )
    run_folder = parser.add_mutually_exclusive_group(required=True)
    run_folder.add_argument(
        "folder", nargs="?", metavar="RUN", help="run folder of a trained model"
    )
    run_folder.add_argument("--run", dest="folder_option", metavar="RUN", help="the same")
    parser.add_argument(
        "--out", required=True, metavar="BASE", help="model base path for the versions"
    )
    add_field_options(parser, Serving, IN_PLACE_OF_THE_RUNS, stands_for="the run's serving")
    add_field_options(parser, ExportOptions, ("proof", "proof_samples", "card_part", "card_rows"))
    add_dry_run_option(parser, "load the run, and say which version would be written")
    add_json_option(parser)
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Exports and says where."""
    set_up_tensorflow()
    from serving.export import describe_export, export_run

    options = section_of(arguments, ExportOptions)
    run_folder = arguments.folder or arguments.folder_option
    if arguments.dry_run:
        described = describe_export(run_folder, arguments.out, options)
        say(
            f"would write {described['path']}: version {described['version']}, signatures "
            f"{', '.join(described['signatures'])}"
        )
        return {"dry_run": True, **described}
    result = export_run(run_folder, arguments.out, options)
    say(
        f"{result['path']}: version {result['version']}, "
        f"signatures {', '.join(result['signatures'])}"
    )
    return {name: result[name] for name in ("path", "version", "signatures", "leak_rule")}


_REFRESH_HELP = """\
Writes the next version of a served model with new answers in it, without training. The version
itself holds all that is needed: trained adapter, frozen reductions and priors, the encoder's
settings. Neither the run nor its data is read.

what a record does:
  an individual answer of a known item or user    its knowledge becomes the answer's, also where it
                                                  shared that of a group until now
  an individual answer of an item or user that the model has never seen
                                                  it joins, with the trained default in the place of
                                                  its id, no attributes and no ratings
  a collective answer about a known group         the knowledge of all members without an answer of
                                                  their own becomes the answer's

--forget-user and --forget-item make users and items unknown: their rows are cleared, in every
table.

All other rows stay as they are, bit for bit, and so does the graph. Answers that are there already
change nothing, and when nothing changes no version is written. A server that watches BASE never
sees half a version; a killed refresh is simply run again.

examples:
  python -m serving refresh --model out/export --answers new_answers.jsonl
  python -m serving refresh --model out/export --source item --answers batch_output.jsonl --dry-run
  python -m serving refresh --model out/export --source item --vectors new_vectors.parquet
  python -m serving refresh --model out/export --forget-user 4711 --forget-item 318

More: docs/refresh.md.
"""


def add_refresh(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "refresh",
        help="new answers into a served model, without training",
        description=_REFRESH_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    add_field_options(parser, RefreshOptions)
    add_form_options(parser)
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=_refresh)


def _refresh(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Refreshes and says what changed.

    Raises:
      ConfigurationError: there is nothing to refresh with.
    """
    options = section_of(arguments, RefreshOptions)
    forget = {"item": options.forget_item, "user": options.forget_user}
    if not options.answers and not options.vectors and not any(forget.values()):
        raise ConfigurationError(
            "--answers: name files of new answers, vectors with --vectors, or whom to forget with "
            "--forget-user and --forget-item"
        )
    set_up_tensorflow()
    from serving.refresh.incoming import AnswerFiles
    from serving.refresh.refreshing import RefreshRequest, refresh

    return refresh(
        RefreshRequest(
            base=Path(options.model),
            answers=AnswerFiles(
                options.answers,
                arguments.format,
                arguments.extraction,
                section_of(arguments, Thresholds),
            ),
            vectors=options.vectors,
            source=options.source,
            version=options.version,
            dry_run=options.dry_run,
            strict=options.strict,
            dead_letters=options.dead_letters,
            forget=forget,
        )
    )


_DEPLOY_HELP = """\
Writes everything that runs an exported model on the official tensorflow/serving image, from one
YAML file of settings:

  server/        models.config (versions and labels), batching.config, monitoring.config
  compose.yaml   TensorFlow Serving, Prometheus and Grafana on one machine
  prometheus/    alerts, and what Prometheus reads; grafana/ has the dashboard
  kubernetes/    model loader, Deployments with probes, services, autoscaling, disruption budget,
                 volume; components/ for monitoring, network policy, gateway and small clusters
  kserve/        InferenceService
  settings.yaml  all settings, given and default; README.md says what to do with all of it

Equal settings give equal bytes. A folder rendered before is brought up to date; one that holds
other things is refused. So is a label's move that a running server would refuse.

examples:
  python -m serving deploy --config serving/deploy/example.yaml --out out/deploy
  python -m serving deploy --config out/deploy/settings.yaml --out out/deploy canary=2
  python -m serving deploy --config out/deploy/settings.yaml --out out/deploy \\
                           stable=2 also_loaded=[1]
"""


def add_deploy(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "deploy",
        help="settings to the files of a deployment",
        description=_DEPLOY_HELP,
        epilog=keys_help([""], Deployment, "keys of the settings:"),
    )
    parser.add_argument(
        "--config", required=True, metavar="FILE.yaml", help="the settings of the deployment"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides of the settings, e.g. canary=4 resources.cpu=4",
    )
    add_dry_run_option(parser, "check the settings and say which files would change")
    add_json_option(parser)
    parser.set_defaults(run=_deploy)


def _deploy(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Renders the files and says what changed.

    Raises:
      ConfigurationError: the settings are wrong.
      CommandError: the folder holds other things, or a label would move too early.
    """
    deployment = load_section(Deployment, arguments.config, arguments.overrides)
    folder = Path(arguments.out)
    before = settings_in(folder)
    if before is not None:
        require_safe_labels(before, deployment)
    files = render(deployment)
    files_before = {} if before is None else render(before)
    written = write_files(folder, files, files_before, dry_run=arguments.dry_run)
    steps = next_steps(before, deployment)
    if before is not None and (abandoned := left_behind(files_before, files)):
        steps.append(
            "no longer applied, but `kubectl apply` takes nothing away: "
            f"{kubectl(before)} delete {' '.join(abandoned)}"
        )
    if missing := missing_version(folder, deployment):
        steps.append(
            f"compose.yaml will not find {missing}: put the version there, or name another folder "
            "by compose.model_folder or MODEL_FOLDER (Kubernetes and KServe do not need it)"
        )
    labels = ", ".join(f"{label} {version}" for label, version in deployment.labels.items())
    done = "to write" if arguments.dry_run else "written"
    say(
        f"{folder}: {deployment.model_name}, {labels}; {len(written.changed)} files {done}, "
        f"{len(written.unchanged)} unchanged, {len(written.removed)} removed"
    )
    for step in steps:
        say(f"note: {step}")
    return {
        "path": str(folder),
        "model": deployment.model_name,
        "labels": deployment.labels,
        "loaded_versions": list(deployment.loaded_versions),
        "changed": written.changed,
        "unchanged": written.unchanged,
        "removed": written.removed,
        "notes": steps,
        "dry_run": arguments.dry_run,
    }
