"""report.html: the results for a reader who knows CTR models, in one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from string import Template

from trainer.experiments.results import Failure
from trainer.report.cells import Cell
from trainer.report.inputs import SERVING_TOLERANCE, PipelineStep, ReportInputs
from trainer.report.plots import (
    gate_figure,
    image_source,
    learning_figure,
    popularity_figure,
    quality_figure,
)
from trainer.report.protocol import (
    arm_entries,
    cautions,
    leak_sentences,
    ordered_tuning,
    protocol_entries,
    settings_table,
    tuning_figure,
    tuning_seconds,
)
from trainer.report.table import (
    MINIMUM_SAMPLES,
    PopularitySlice,
    Table,
    cost_table,
    main_table,
    marks_note,
    run_table,
    slice_table,
    step_table,
    unaccounted_records,
)
from trainer.report.wording import summary_text


def html_table(table: Table) -> str:
    """A table; where the first column has a new name, a line sets the rows apart."""
    head = "".join(
        f'<th scope="col"{_class_of(table, column)}>{escape(text)}</th>'
        for column, text in enumerate(table.header)
    )
    body = []
    for number, row in enumerate(table.rows):
        starts = number > 0 and row[0] != table.rows[number - 1][0] and table.text_columns > 1
        cells = "".join(
            f"<td{_class_of(table, column)}>{escape(text)}</td>" for column, text in enumerate(row)
        )
        body.append(f'<tr class="first-of-group">{cells}</tr>' if starts else f"<tr>{cells}</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table>"
    )


def html_definitions(entries: Sequence[tuple[str, str]]) -> str:
    """A list of terms and their descriptions."""
    lines = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in entries)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def html_list(texts: Sequence[str]) -> str:
    """A bulleted list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def html_figure(source: str, description: str, caption: str) -> str:
    """An image with its text alternative and a caption."""
    return (
        f'<figure><img src="{escape(source)}" alt="{escape(description)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def html_paragraph(text: str, kind: str = "") -> str:
    """A paragraph, with a class if `kind` is given."""
    opening = f'<p class="{escape(kind)}">' if kind else "<p>"
    return f"{opening}{escape(text)}</p>"


def _class_of(table: Table, column: int) -> str:
    return ' class="name"' if column < table.text_columns else ""


_TEMPLATE = Path(__file__).with_name("page.html")
_GATES_SHOWN = 8
_TITLES = {
    "auc": "Knowledge in CTR models",
    "ndcg_at_10": "Knowledge in re-rankers",
    "new_items_recall_at_10": "Knowledge in retrieval models",
}


def page_html(
    inputs: ReportInputs, cells: Sequence[Cell], slices: Sequence[PopularitySlice]
) -> str:
    """The whole page."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{_TITLES[inputs.experiment.metric]}: {inputs.scenario.name}"),
        made=escape(f"{inputs.made_at} · {inputs.machine}"),
        summary=escape(summary_text(inputs, slices)),
        protocol=html_definitions(protocol_entries(inputs)),
        arms=html_definitions(arm_entries(inputs)),
        main_table=html_table(main_table(cells)),
        baseline=escape(inputs.baseline),
        seed_noise=escape(_seed_noise_text(inputs, cells)),
        marks_note=escape(marks_note(inputs)),
        failures=_failures_section(inputs.experiment.failures),
        cautions="".join(html_paragraph(text, "warning") for text in cautions(inputs)),
        quality_figure=html_figure(
            image_source(partial(quality_figure, inputs, cells)),
            f"Test {inputs.metric_name} by backbone and arm with intervals, and differences to the "
            "baseline",
            "Left: intervals of single models are wide because test users differ from each "
            "other. Right: on the same users the models are compared pair by pair, and the "
            "interval of the difference is what tells whether an arm helps.",
        ),
        run_table=html_table(run_table(inputs)),
        tuning=_tuning_section(inputs),
        cost_table=html_table(
            cost_table(
                cells, [tuning_seconds(inputs, cell.backbone, cell.knowledge) for cell in cells]
            )
        ),
        learning_figure=html_figure(
            image_source(partial(learning_figure, inputs)),
            f"Validation {inputs.metric_name} and training loss by epoch for every backbone and "
            "arm",
            "Thin lines: seeds, with a mark at the epoch that was kept. Thick lines: mean over "
            "seeds, as far as all of them were trained.",
        ),
        popularity=_popularity_section(inputs, slices),
        gates=_gates_section(inputs),
        leak=html_list(leak_sentences(inputs)),
        steps=_steps_section(inputs.steps),
        serving=_serving_section(inputs.served_max_abs_difference),
        command=escape(inputs.command),
        reproduce_note=escape(
            f"Made on {inputs.machine}, {inputs.made_at}. Every run folder keeps its resolved "
            "configuration and the hashes of its data; results.json beside this page has the "
            "figures of all tables and plots."
        ),
    )


def _seed_noise_text(inputs: ReportInputs, cells: Sequence[Cell]) -> str:
    found = [cell.seed_deviation for cell in cells if cell.seed_deviation is not None]
    if not found:
        return "One seed per model: how much a result moves from seed to seed is not known."
    return (
        f"Between seeds the test {inputs.metric_name} of a model has a standard deviation of "
        f"{min(found):.4f} to {max(found):.4f}."
    )


def _failures_section(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    heading = html_paragraph("These parts of the experiment failed:", "warning")
    return heading + html_list(
        [f"{one.backbone}, {one.knowledge}, {one.what}: {one.reason}" for one in failures]
    )


def _tuning_section(inputs: ReportInputs) -> str:
    tuning = ordered_tuning(inputs)
    if not tuning:
        return html_paragraph(
            "No settings were searched: all cells have those named under “Protocol”."
        )
    figure = html_figure(
        image_source(partial(tuning_figure, inputs, tuning)),
        "Validation result by trial for every backbone and arm",
        "Every search has the same number of trials over the same space from the same search seed. "
        "Marks: trials. Lines: the best so far; its settings were trained with every seed. "
        "Settings without effect in an arm were searched there too.",
    )
    return f'{figure}<div class="scroll">{html_table(settings_table(tuning))}</div>'


def _popularity_section(inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> str:
    if not slices:
        return html_paragraph(
            "No arm was compared with the baseline."
            if not inputs.comparisons
            else "This section is about ranking models."
        )
    figure = html_figure(
        image_source(partial(popularity_figure, inputs, slices)),
        "AUC difference to the baseline by the item's number of training interactions",
        "Test samples by how often their item occurs in the training interactions (train part and "
        "the history before it); AUC within each bucket, 95 % intervals without a correction for "
        f"their number. Too few: fewer than {MINIMUM_SAMPLES} samples, or samples of one class "
        "only.",
    )
    table = html_table(slice_table(slices))
    return (
        f'{figure}<details><summary>As a table</summary><div class="scroll">{table}</div></details>'
    )


def _gates_section(inputs: ReportInputs) -> str:
    if not inputs.gates:
        return html_paragraph("No arm has an adapter with gates and knowledge of the test part.")
    seeds = sorted({weights.seed for weights in inputs.gates.values()})
    figure = html_figure(
        image_source(partial(gate_figure, inputs.gates)),
        "Mean gate weights of the experts by source",
        "Weight that the gate of each source gives to its experts, mean over the distinct entities "
        "of the test part that have knowledge, in the model of the first seed "
        f"({', '.join(map(str, seeds))}); the weights of a source add up to 1. S: experts shared "
        "by all sources. D: dedicated experts, which every source has of its own. Bars at the "
        "dashed line mean that the gate does not choose.",
    )
    if len(inputs.gates) <= _GATES_SHOWN:
        return figure
    return f"<details><summary>{len(inputs.gates)} models</summary>{figure}</details>"


def _steps_section(steps: Sequence[PipelineStep]) -> str:
    if not steps:
        return html_paragraph(
            "The experiment was run on data that was there; the manifests of its work directory "
            "have the counts of the steps that made it."
        )
    return f'<div class="scroll">{html_table(step_table(steps))}</div>{_step_note(steps)}'


def _step_note(steps: Sequence[PipelineStep]) -> str:
    lost = [step["name"] for step in steps if unaccounted_records(step) != 0]
    if lost:
        return html_paragraph(f"Records are unaccounted for in: {', '.join(lost)}.", "warning")
    return html_paragraph(
        "In every step records in = records out + dead letters. History only: "
        "interactions that the LLM may have seen, so they appear in histories and never as "
        "samples. A step that was not repeated has the counts of the job that made its result.",
        "note",
    )


def _serving_section(difference: float | None) -> str:
    if difference is None:
        return html_paragraph("Nothing was served in this run, so parity was not measured.")
    limit = _scientific(SERVING_TOLERANCE)
    text = f"Largest absolute difference of checkpoint and served scores: {_scientific(difference)}"
    if difference < SERVING_TOLERANCE:
        return html_paragraph(f"{text}, below the limit of {limit}.")
    return html_paragraph(f"{text}, not below the limit of {limit}.", "warning")


def _scientific(number: float) -> str:
    """Two digits, e.g. "2.4e-7"."""
    return f"{number:.2g}".replace("e-0", "e-")
