"""`elq explain`"""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from ._common import (
    MANY,
    GpuOption,
    MentionKindsOption,
    QuietOption,
    ThresholdOption,
    TopKOption,
    argument_text,
    handle_errors,
    load_pipeline,
    override_settings,
    require_elq,
)

EXAMPLE = (
    'Example: python -m spacy elq explain training/model-best "who coached jordan" --candidates 3'
)


@handle_errors()
def explain_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text whose links to explain")],
    threshold: ThresholdOption = None,
    top_k: TopKOption = None,
    mention_kinds: MentionKindsOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=MANY, help="Number of spans shown besides links")
    ] = 20,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates", "-c", min=0, max=MANY, help="Number of candidates shown for each link"
        ),
    ] = 5,
    exact: Annotated[
        bool, typer.Option(help="Compare an approximate index with exact search")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, with all candidates of every span")
    ] = False,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Explain the links of a text: every span considered, its scores and candidates, and the reason
    why it was not linked. Spans with [CLS], [SEP] or parts of words appear only with --json."""
    import json
    from dataclasses import asdict

    from ..linking.explanation import LIMIT
    from ..pipeline.lookup import doc_before
    from ._display import Display

    nlp = load_pipeline(pipeline, gpu_id)
    elq = require_elq(nlp, pipeline)
    override_settings(elq, threshold=threshold, top_k=top_k, mention_kinds=mention_kinds)
    doc = doc_before(nlp, elq.name, argument_text(text))
    # The display shows the best by joint score, which need not be the likeliest mentions.
    explained = elq.explain(doc, limit=max(limit, LIMIT), exact=exact)
    if as_json:
        typer.echo(json.dumps(_finite(asdict(explained)), ensure_ascii=False))
    else:
        typer.echo(Display().format_explanation(explained, limit, candidates))


def _finite(value: Any) -> Any:
    """JSON has no infinity: such a score becomes null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
