"""What the dashboard shows: the panels and the expressions behind them."""

from __future__ import annotations

from typing import NamedTuple

from serving.deploy import metrics

_INSTANCE = 'instance=~"$instance"'
_MODEL = f'model_name="$model", {_INSTANCE}'
# Calls of the probes have no name of an API, and would hide how long ranking takes.
_RANKING = f'API!="", {_MODEL}'
_FAILED = f'status!="OK", {_MODEL}'
_BUCKETS = (
    "The server's buckets grow by a factor of 1.8, so a quantile is only known to lie in one of "
    "them: watch it move, and measure latency itself at the client."
)


class Panel(NamedTuple):
    """One graph, or one number.

    Attributes:
      title: above it.
      unit: Grafana's name of the unit.
      description: shown on asking.
      targets: legend -> expression; a legend may name labels, {{status}}.
      width: of the 24 columns.
      kind: "timeseries" or "stat".
    """

    title: str
    unit: str
    description: str
    targets: dict[str, str]
    width: int = 8
    kind: str = "timeseries"


def dashboard_rows() -> dict[str, list[Panel]]:
    """Rows of panels, by title, from top to bottom."""
    requests, loads = metrics.REQUEST_COUNT, metrics.LOAD_ATTEMPTS
    failed = f"{_rate(requests, _FAILED)} or vector(0)"
    failed_loads = f'sum(increase({loads}{{status="fail", {_INSTANCE}}}[1h])) or vector(0)'
    by_folder = f"sum by (model_path, status) ({loads}{{{_INSTANCE}}})"
    return {
        "Now": [
            Panel(
                "Requests", "reqps", "All statuses.", {"all": _rate(requests, _MODEL)}, 6, "stat"
            ),
            Panel(
                "Share that failed",
                "percentunit",
                "Wrong requests of callers count as failed too: see the statuses below.",
                {"failed": f"({failed}) / {_rate(requests, _MODEL)}"},
                6,
                "stat",
            ),
            Panel(
                "Latency p99",
                "µs",
                f"Of ranking requests, inside the server. {_BUCKETS}",
                {"p99": _quantile(0.99, metrics.REQUEST_LATENCY, _RANKING)},
                6,
                "stat",
            ),
            Panel(
                "Loads that failed, last hour",
                "short",
                "The version before keeps serving; little else tells that a new one fails to load.",
                {"failed": failed_loads},
                6,
                "stat",
            ),
        ],
        "Requests": [
            Panel(
                "Requests by status",
                "reqps",
                "INVALID_ARGUMENT and NOT_FOUND are the caller's; UNAVAILABLE, INTERNAL, "
                "DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED the server's.",
                {"{{status}}": _rate(requests, _MODEL, "status")},
            ),
            Panel(
                "Latency of requests",
                "µs",
                f"Inside the server: queue, batch, model, encoding. {_BUCKETS}",
                _quantiles(metrics.REQUEST_LATENCY, _RANKING),
            ),
            Panel(
                "Latency p99 by way in",
                "µs",
                "REST is slower by reading and writing JSON.",
                {
                    "{{entrypoint}} {{API}}": _quantile(
                        0.99, metrics.REQUEST_LATENCY, _RANKING, "entrypoint, API"
                    )
                },
            ),
        ],
        "Model": [
            Panel(
                "Time in the model",
                "µs",
                "A gap to the latency of requests is time in queues, batches or encoding.",
                _quantiles(metrics.RUNTIME_LATENCY, _RANKING),
            ),
            Panel(
                "Graph runs",
                "ops",
                "Fewer than requests where batching joins them.",
                {"runs": _rate(metrics.GRAPH_RUNS, _INSTANCE)},
            ),
            Panel(
                "Mean time of a graph run",
                "µs",
                "Of all models and versions of the server.",
                {
                    "mean": f"{_rate(metrics.GRAPH_RUN_TIME, _INSTANCE)} / "
                    f"{_rate(metrics.GRAPH_RUNS, _INSTANCE)}"
                },
            ),
        ],
        "Batching (empty where it is off)": [
            Panel(
                "Wait for a batch",
                "µs",
                "Near batch_timeout_micros with small batches: too little traffic for batching to "
                "help. Far above it: too few CPUs.",
                _quantiles(metrics.QUEUING_LATENCY, _INSTANCE),
            ),
            Panel(
                "Mean rows",
                "short",
                "Of a request, and of what runs together.",
                {
                    "request": _mean(metrics.INPUT_BATCH_SIZE),
                    "run": _mean(metrics.PROCESSED_BATCH_SIZE),
                },
            ),
            Panel(
                "Share of rows that fill up",
                "percentunit",
                "Computed and thrown away, to reach one of allowed_batch_sizes.",
                {
                    "filling": f"{_rate(f'{metrics.PADDING_SIZE}_sum', _INSTANCE)} / "
                    f"{_rate(f'{metrics.PROCESSED_BATCH_SIZE}_sum', _INSTANCE)}"
                },
            ),
        ],
        "Versions": [
            Panel(
                "Loads since the start",
                "short",
                "By version folder and outcome, over all replicas. The server has no metric of the "
                "versions and labels that serve now: ask for the model's status.",
                {"{{model_path}} {{status}}": by_folder},
            ),
            Panel(
                "Time of a load",
                "µs",
                "Of the slowest replica, all attempts together.",
                {"{{model_path}}": f"max by (model_path) ({metrics.LOAD_LATENCY}{{{_INSTANCE}}})"},
            ),
            Panel(
                "Time of a warm-up",
                "µs",
                "Replay of the requests that the export carries; part of a load.",
                {
                    "{{model_path}}": f"max by (model_path) "
                    f"({metrics.WARMUP_LATENCY}_sum{{{_INSTANCE}}})"
                },
            ),
        ],
    }


def _rate(name: str, selector: str, by: str = "") -> str:
    grouping = f"sum by ({by})" if by else "sum"
    return f"{grouping} (rate({name}{{{selector}}}[$__rate_interval]))"


def _quantile(share: float, name: str, selector: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {_rate(f'{name}_bucket', selector, labels)})"


def _quantiles(name: str, selector: str) -> dict[str, str]:
    return {f"p{share * 100:g}": _quantile(share, name, selector) for share in (0.5, 0.95, 0.99)}


def _mean(name: str) -> str:
    return f"{_rate(f'{name}_sum', _INSTANCE)} / {_rate(f'{name}_count', _INSTANCE)}"
