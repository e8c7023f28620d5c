"""What a saved pipeline says of itself: scores, threshold and knowledge base in its `meta.json`.

`performance` and `description` are spaCy's fields, `elq` holds the facts, and `notes` the same as
Markdown, which `spacy package` puts into the README.md of the package. Text of the user in `notes`,
above and below the card, stays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import srsly

from ..about import __version__
from ..errors import ElqError, Errors
from ..files import write_json
from ..ml.pretrained import PRETRAINED
from ..pipeline.linker_settings import LinkerSettings
from ..pipeline.lookup import find_elq
from .columns import LINK_COLUMNS, PEERS_F1
from .evaluate import LINKER, Result, mean_results

if TYPE_CHECKING:
    from spacy.language import Language

    from .tuning import Tuning

# In meta.json.
FACTS = "elq"
BEGIN, END = "<!-- spacy-elq: begin of the card -->", "<!-- spacy-elq: end of the card -->"
# In the card's table.
COLUMNS = [c for c in LINK_COLUMNS if c.key == "elq_r1" or "weak" in c.key or "strong" in c.key]
# The shares among the scores; spaCy's README shows each as percent.
SHARES = (*(c.key for c in LINK_COLUMNS if c.form == ".3f"), "bench_f", PEERS_F1)


def meta_file(directory: Path) -> Path:
    """RETURNS (Path): The file that describes a saved pipeline.
    RAISES (ElqError): If the directory does not contain one."""
    path = directory / "meta.json"
    if not path.is_file():
        raise ElqError(Errors.ELQ444.format(path=directory))
    return path


def store_scores(nlp: Language, directory: Path, results: Sequence[Result]) -> None:
    """Store the scores of a pipeline, as it is saved, in place of those stored before.

    directory (Path): From which the pipeline was loaded.
    results (Sequence[Result]): Of one or more sets; those of other systems are left out.
    """
    own = [result for result in results if result.system == LINKER]
    whole = (mean_results(own) or own)[0].scores
    rows = [
        {"set": r.data, "part": r.part, "texts": r.texts, **_shares(r.scores)}
        for r in own
        if r.texts
    ]
    _store(nlp, directory, _shares(whole), scores={**_today(), "rows": rows})


def store_tuning(
    nlp: Language, directory: Path, tuning: Tuning, *, data: str, goal: str, match: str
) -> None:
    """Store how the threshold was chosen, and how well the probabilities fit. Scores stored before
    were measured at another threshold, and are removed.

    data, goal, match (str): The development set, what was chosen for, what counted as right.
    """
    curve, i = tuning.curve, tuning.chosen
    reached = {name: float(getattr(curve, name)[i]) for name in ("p", "r", "f")}
    ece = {} if tuning.calibrated is None else tuning.calibrated.to_dict()["ece"]
    facts = {"set": data, "goal": goal, "match": match, **reached, "ece": ece}
    facts["threshold"] = tuning.threshold
    performance = {f"elq_{match}_{name}": value for name, value in reached.items()}
    _store(nlp, directory, performance, tuning={**_today(), **facts}, scores=None)


def _shares(scores: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(scores[key]) for key in SHARES if scores.get(key) is not None}


def _today() -> dict[str, str]:
    return {"date": datetime.now(UTC).date().isoformat(), "spacy_elq": __version__}


def _store(nlp: Language, directory: Path, performance: dict[str, float], **facts: Any) -> None:
    path = meta_file(directory)
    meta = srsly.read_json(path)
    known = {"scores": None, "tuning": None, **meta.get(FACTS, {}), **_describe(nlp), **facts}
    meta["description"] = meta.get("description") or _description(known["knowledge_base"])
    changed = {"performance": performance, FACTS: known}
    notes = _with_card(meta.get("notes", ""), _card({**meta, **changed}))
    write_json(path, {**meta, **changed, "notes": notes})


def _describe(nlp: Language) -> dict[str, Any]:
    """RETURNS (dict): What the pipeline is, as it is now."""
    elq: Any = find_elq(nlp)
    manifest = elq.kb.manifest
    encoder = nlp.config["components"][elq.name].get("model", {}).get("encoder", {})
    return {
        "threshold": elq.threshold if math.isfinite(elq.threshold) else str(elq.threshold),
        "probabilities": (elq.calibration or {}).get("method"),
        "mention_kinds": elq.mention_kinds,
        "trained_on_entities": len(elq.seen_ids),
        "weights": elq.model.attrs.get(PRETRAINED),
        "encoder": encoder.get("name"),
        "knowledge_base": {
            "entities": len(elq.kb),
            "source": manifest.source,
            "snapshot": manifest.snapshot,
            "created": manifest.created[:10],
            "path": elq.kb_path,
        },
    }


def _description(kb: Mapping[str, Any]) -> str:
    of = f" of {kb['source']}" if kb["source"] else ""
    return f"Finds mentions and links them to {kb['entities']:,} entities{of}."


def _card(meta: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = "{:.3f}".format
    environment.filters["shares"] = lambda row: " | ".join(c.show(row) for c in COLUMNS)
    template = environment.get_template("model_card.md")
    return template.render(meta[FACTS], default=LinkerSettings().threshold).strip()


def _with_card(notes: str, card: str) -> str:
    """RETURNS (str): The notes with the card in place of an earlier one, or else at the end."""
    card = f"{BEGIN}\n\n{card}\n\n{END}"
    if BEGIN in notes and END in notes:
        earlier = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
        return earlier.sub(lambda _: card, notes)
    return f"{notes}\n\n{card}".strip()
