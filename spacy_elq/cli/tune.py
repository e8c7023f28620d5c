"""`elq tune`"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..corpora.nif import WIKIDATA
from ..errors import ElqError, Errors
from ._common import (
    BATCH_SIZE,
    EntityUriOption,
    FormatOption,
    GpuOption,
    MentionKindsOption,
    QuietOption,
    echo_note,
    handle_errors,
    load_pipeline,
    note_unknown_entities,
    override_settings,
    progress_bar,
    read_gold_docs,
    refuse_to_overwrite,
    require_elq,
)

if TYPE_CHECKING:
    from ..evaluation.threshold_curve import Curve
    from ..evaluation.tuning import Calibrated, Tuning

EXAMPLE = (
    "Example: python -m spacy elq tune training/model-best dev.jsonl --precision 0.9 "
    "--output tuning --save"
)
# Step between the rows of the table.
STEP = 0.5


@handle_errors("The pipeline was left as it was.")
def tune_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    data: Annotated[Path, typer.Argument(help="Gold file in any format of `elq convert`")],
    precision: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Choose the threshold for this precision instead of F1"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory for tune.json, curve.png, reliability.png"),
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Store threshold, calibration, model card in the pipeline"),
    ] = False,
    method: Annotated[str, typer.Option(help="Calibration: isotonic or platt")] = "isotonic",
    match: Annotated[
        str,
        typer.Option(help="What counts as right: weak (overlapping spans) or strong (same span)"),
    ] = "weak",
    floor: Annotated[float, typer.Option(help="Lowest joint log-score considered")] = -8.0,
    mention_kinds: MentionKindsOption = None,
    read_as: FormatOption = "",
    entity_uri: EntityUriOption = WIKIDATA,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Choose a threshold on a development set in one pass, and calibrate scores to probabilities
    (span._.elq.prob). Needs the extra "tune"."""
    from ..evaluation.model_card import meta_file, store_tuning
    from ..evaluation.threshold_curve import links_above, read_scored_links
    from ..evaluation.tuning import check_installed, save_settings, settings_file, tune_threshold

    check_installed(pictures=output is not None)  # before the work, not after it
    if output is not None:
        refuse_to_overwrite(output / "tune.json", [data])
    nlp = load_pipeline(pipeline, gpu_id)
    elq = require_elq(nlp, pipeline)
    override_settings(elq, mention_kinds=mention_kinds)
    if save:
        settings_file(Path(pipeline), elq.name)  # as above
        meta_file(Path(pipeline))
    floor = min(floor, elq.threshold)
    if not math.isfinite(floor):
        raise ElqError(Errors.ELQ356.format(floor=floor))
    references = read_gold_docs(data, nlp, read_as, entity_uri)
    note_unknown_entities(elq, references, data.name, quiet=quiet)
    with links_above(elq, floor):
        linked = nlp.pipe((reference.text for reference in references), batch_size=BATCH_SIZE)
        docs = progress_bar(data.name, quiet=quiet)(linked)
        texts = [
            read_scored_links(doc, reference, elq.spans_key)
            for doc, reference in zip(docs, references, strict=True)
        ]
    tuning = tune_threshold(texts, floor, precision=precision, method=method, match=match)
    goal = "best F1" if precision is None else f"P >= {precision:g}"
    typer.echo(_table(tuning.curve, {elq.threshold: "now", tuning.threshold: goal}))
    if tuning.calibrated is not None:
        typer.echo("\n" + _calibration_table(tuning.calibrated, tuning.threshold, floor))
    if output is not None:
        written = _write(tuning, output, {"pipeline": pipeline, "data": str(data)})
        echo_note(f"{output}: {', '.join(written)}", quiet=quiet)
    if save:
        elq.threshold, stored = tuning.threshold, f"threshold {tuning.threshold:.3f}"
        if tuning.calibrated is not None:
            elq.calibration = tuning.calibrated.calibration.to_dict()
            stored += " and calibration"
        save_settings(nlp, Path(pipeline), elq.name)
        store_tuning(nlp, Path(pipeline), tuning, data=data.name, goal=goal, match=match)
        echo_note(f"{pipeline}: {stored} stored", quiet=quiet)


def _write(tuning: Tuning, output: Path, origin: dict[str, str]) -> list[str]:
    """Write the files of a tuning into a directory. RETURNS (list[str]): Their names."""
    from ..evaluation.plots import plot_curve, plot_reliability, save_png
    from ..files import write_json

    write_json(output / "tune.json", {**origin, **tuning.to_dict()})
    save_png(plot_curve(tuning.curve, tuning.threshold), output / "curve.png")
    if tuning.calibrated is None:
        return ["tune.json", "curve.png"]
    before, after = tuning.calibrated.all_before, tuning.calibrated.all_after
    figure = plot_reliability({"exp(score)": before, "calibrated": after})
    save_png(figure, output / "reliability.png")
    return ["tune.json", "curve.png", "reliability.png"]


def _table(curve: Curve, marked: dict[float, str]) -> str:
    """The curve at round thresholds and at the named ones."""
    from ._table import format_table

    first = math.ceil(curve.thresholds[-1] / STEP)
    rounds = [STEP * i for i in range(first, math.ceil(curve.thresholds[0] / STEP))]
    rows = []
    for threshold in sorted({*rounds, *marked}):
        i = curve.at(threshold)
        values = [f"{value[i]:.3f}" for value in (curve.p, curve.r, curve.f)]
        name = marked.get(threshold, "")
        rows.append([f"{threshold:.3f}", name, str(curve.predicted[i]), *values])
    return format_table(["threshold", "", "links", "P", "R", "F1"], rows, "llrrrr")


def _calibration_table(found: Calibrated, threshold: float, floor: float) -> str:
    from ._table import format_table

    rows = []
    for name, before, after in (
        (f"links above {threshold:.3f}", found.before, found.after),
        (f"links above {floor:.3f}", found.all_before, found.all_after),
    ):
        links = str(int(before.counts.sum()))
        rows.append([name, links, f"{before.error:.4f}", f"{after.error:.4f}"])
    header = ["calibration error (ECE)", "links", "exp(score)", "calibrated"]
    return format_table(header, rows, "lrrr")
