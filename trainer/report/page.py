"""report.html: the results for a reader who knows CTR models, in one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from trainer.report.cells import Cell
from trainer.report.html_parts import (
    html_definitions,
    html_figure,
    html_list,
    html_paragraph,
    html_table,
)
from trainer.report.inputs import SERVING_TOLERANCE, PipelineStep, ReportInputs
from trainer.report.leak_text import leak_sentences
from trainer.report.model_plots import gate_figure, learning_figure
from trainer.report.plot_style import image_source
from trainer.report.protocol import arm_entries, protocol_entries
from trainer.report.result_plots import auc_figure, popularity_figure
from trainer.report.slices import MINIMUM_SAMPLES, PopularitySlice
from trainer.report.table import (
    main_table,
    run_table,
    slice_table,
    step_table,
    unaccounted_records,
)
from trainer.report.wording import summary_text

_TEMPLATE = Path(__file__).with_name("page.html")


def page_html(
    inputs: ReportInputs, cells: Sequence[Cell], slices: Sequence[PopularitySlice]
) -> str:
    """The whole page."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"Knowledge in CTR models: {inputs.scenario.name}"),
        made=escape(f"{inputs.made_at} · {inputs.machine}"),
        summary=escape(summary_text(inputs, slices)),
        protocol=html_definitions(protocol_entries(inputs)),
        arms=html_definitions(arm_entries(inputs)),
        main_table=html_table(main_table(cells)),
        seed_noise=escape(_seed_noise_text(cells)),
        auc_figure=html_figure(
            image_source(partial(auc_figure, cells)),
            "Test AUC by backbone and arm with intervals, and differences to the arm without "
            "knowledge",
            "Left: intervals of single models are wide because test users differ from each "
            "other. Right: on the same users the models are compared pair by pair, and the "
            "interval of the difference is what tells whether knowledge helps.",
        ),
        run_table=html_table(run_table(inputs)),
        learning_figure=html_figure(
            image_source(partial(learning_figure, inputs)),
            "Validation AUC and training loss by epoch for every backbone and arm",
            "Thin lines: seeds, with a mark at the epoch that was kept. Thick lines: mean over "
            "seeds, as far as all of them were trained.",
        ),
        popularity=_popularity_section(inputs, slices),
        gates=_gates_section(inputs),
        leak=html_list(leak_sentences(inputs)),
        step_table=html_table(step_table(inputs.steps)),
        step_note=_step_note(inputs.steps),
        serving=_serving_section(inputs.served_max_abs_difference),
        command=escape(inputs.command),
        reproduce_note=escape(
            f"Made on {inputs.machine}, {inputs.made_at}. Every run folder keeps its resolved "
            "configuration and the hashes of its data; results.json beside this page has the "
            "figures of all tables and plots."
        ),
    )


def _seed_noise_text(cells: Sequence[Cell]) -> str:
    deviations = [np.std(cell.seed_aucs, ddof=1) for cell in cells if len(cell.seed_aucs) > 1]
    if not deviations:
        return "One seed per model: how much a result moves from seed to seed is not known."
    return (
        "Between seeds the test AUC of a model has a standard deviation of "
        f"{min(deviations):.4f} to {max(deviations):.4f}."
    )


def _popularity_section(inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> str:
    if not slices:
        return html_paragraph("No arm with knowledge was run.")
    figure = html_figure(
        image_source(partial(popularity_figure, inputs, slices)),
        "AUC difference to the arm without knowledge by the item's number of training interactions",
        "Test samples by how often their item occurs in the training interactions (train part and "
        "the history before it); AUC within each bucket, 95 % intervals. Too few: fewer than "
        f"{MINIMUM_SAMPLES} samples, or samples of one class only.",
    )
    table = html_table(slice_table(slices))
    return (
        f'{figure}<details><summary>As a table</summary><div class="scroll">{table}</div></details>'
    )


def _gates_section(inputs: ReportInputs) -> str:
    if not inputs.gates:
        return html_paragraph("No arm has an adapter with gates and knowledge of the test part.")
    seeds = sorted({weights.seed for weights in inputs.gates.values()})
    return html_figure(
        image_source(partial(gate_figure, inputs.gates)),
        "Mean gate weights of the experts by source",
        "Weight that the gate of each source gives to its experts, mean over the distinct entities "
        "of the test part that have knowledge, in the model of the first seed "
        f"({', '.join(map(str, seeds))}); the weights of a source add up to 1. S: experts shared "
        "by all sources. D: dedicated experts, which every source has of its own. Bars at the "
        "dashed line mean that the gate does not choose.",
    )


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
