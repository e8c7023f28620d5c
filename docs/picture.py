"""The picture in the README: texts linked by a pipeline, drawn by displaCy.

pip install playwright      # and a Chromium: `playwright install chromium`, or the system's
python -m spacy elq start my_linker --kb assets/entities.jsonl
python docs/picture.py my_linker docs/links.png
"""

from __future__ import annotations

import shutil
import sys

import spacy
from playwright.sync_api import sync_playwright
from spacy import displacy

TEXTS = (
    "who coached jordan when chicago won its first title?",
    "Flights from Georgia to Jordan were cancelled.",
    "Phoenix played Johnny Cash in the film.",
    "how far is cambridge from boston",
)
URL = "https://www.wikidata.org/wiki/{}"


def main() -> None:
    pipeline, picture = sys.argv[1:]
    docs = list(spacy.load(pipeline).pipe(TEXTS))
    drawn = [
        {
            "text": doc.text,
            "ents": [
                {
                    "start": ent.start_char,
                    "end": ent.end_char,
                    "label": ent._.elq.title,
                    "kb_id": ent.kb_id_,
                    "kb_url": URL.format(ent.kb_id_),
                }
                for ent in doc.ents
            ],
            "title": None,
        }
        for doc in docs
    ]
    html = displacy.render(drawn, style="ent", manual=True, page=True)
    html = html.replace("padding: 4rem 2rem", "padding: 0.5rem 1rem")
    html = html.replace("margin-bottom: 6rem", "margin: 0")
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 880, "height": 100})
        page.set_content(html)
        page.screenshot(path=picture, full_page=True)


if __name__ == "__main__":
    main()
