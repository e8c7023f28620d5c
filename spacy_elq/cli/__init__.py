"""`python -m spacy elq …`

spaCy imports this module at the start of every command of its own (entry-point group
`spacy_cli`), so it and the modules of the commands import nothing heavy: a command imports what it
runs when it runs.
"""

from __future__ import annotations

import typer
from spacy.cli._util import app as spacy_app

from . import (
    convert,
    evaluate,
    explain,
    import_checkpoint,
    kb,
    link,
    optimize,
    plan,
    report,
    serve,
    start,
    train,
    tune,
    weights,
    wikidata,
    wikipedia,
)

app = typer.Typer(
    name="elq",
    help="End-to-end entity linking: knowledge bases, data, linking, evaluation.",
    no_args_is_help=True,
)
app.command("convert", epilog=convert.EXAMPLE)(convert.convert_command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate_command)
app.command("explain", epilog=explain.EXAMPLE)(explain.explain_command)
app.command("import-checkpoint", epilog=import_checkpoint.EXAMPLE)(
    import_checkpoint.import_checkpoint_command
)
app.command("link", epilog=link.EXAMPLE)(link.link_command)
app.command("optimize", epilog=optimize.EXAMPLE)(optimize.optimize_command)
app.command("plan", epilog=plan.EXAMPLE)(plan.plan_command)
app.command("serve", epilog=serve.EXAMPLE)(serve.serve_command)
app.command("start", epilog=start.EXAMPLE)(start.start_command)
app.command("train", epilog=train.EXAMPLE, context_settings=train.OVERRIDES)(train.train_command)
app.command("tune", epilog=tune.EXAMPLE)(tune.tune_command)
app.command("report", epilog=report.EXAMPLE)(report.report_command)
app.command("weights", epilog=weights.EXAMPLE)(weights.weights_command)
app.command("wikidata", epilog=wikidata.EXAMPLE)(wikidata.wikidata_command)
app.command("wikipedia", epilog=wikipedia.EXAMPLE)(wikipedia.wikipedia_command)
app.add_typer(kb.app, name="kb")

spacy_app.add_typer(app, name="elq")
