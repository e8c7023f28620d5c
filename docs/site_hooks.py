"""Pages of the site that are files of the repository: the README is its first page.

Links are written for the repository. On the site, those to another page of it lead there; of those
to any other file, only the text is kept.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Page of the site → the file of the repository that it shows.
COPIES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "assets.md": "assets/README.md",
}
PAGE_OF = {source: page for page, source in COPIES.items()}
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    for page, source in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    source = COPIES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def rewrite(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        uri = PAGE_OF.get(path, path.removeprefix("docs/"))
        return f"[{text}]({uri}{anchor})" if files.get_file_from_path(uri) else text

    return LINK.sub(rewrite, markdown)
