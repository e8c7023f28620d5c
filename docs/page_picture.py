"""The picture in serve.md: the page of a service, with one mention chosen.

pip install playwright      # and a Chromium: `playwright install chromium`, or the system's
python -m spacy elq start my_linker --kb assets/entities.jsonl
python -m spacy elq serve my_linker &
python docs/page_picture.py http://127.0.0.1:8080 docs/page.png
"""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import sync_playwright

TEXT = (
    "Jordan won six titles with Chicago before he tried baseball. After the war Jackson became "
    "president. In the film, Joaquin Phoenix plays Johnny Cash, whose band also came to Georgia."
)
CHOSEN = "Jordan"


def main() -> None:
    address, picture = sys.argv[1:]
    with sync_playwright() as browsers:
        chromium = shutil.which("chromium")
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 640})
        page.goto(address)
        page.fill("#text", TEXT)
        page.click("#link")
        page.click(f".mention >> text={CHOSEN} >> nth=0")
        page.wait_for_selector("#details .candidates .value >> text=meaning")
        page.mouse.move(0, 0)
        page.screenshot(path=picture)


if __name__ == "__main__":
    main()
