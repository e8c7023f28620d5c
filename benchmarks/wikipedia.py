"""What reading a dump of Wikipedia costs, that its links are right, and that a killed run resumes.
Linux only.

    python benchmarks/wikipedia.py speed DUMP
    python benchmarks/wikipedia.py memory DUMP [--times 20]
    python benchmarks/wikipedia.py kill DUMP [--kills 30] [--workers 1] [--seed 0]
    python benchmarks/wikipedia.py spans DUMP [--spans 1000] [--seed 0]

"speed" gives MB of XML per CPU second of this process: pages that are only read and parsed; the
whole command, without and with links to missing pages; gensim's `filter_wiki`, where gensim is
installed. Each is run three times, in turn; the rates are medians. "memory" compares the peak
memory of the command on the dump and on its pages repeated under other titles. "kill" ends the
command by SIGKILL at random times, lets it resume each time, and compares every file with those of
an undisturbed run.
"spans" draws gold spans, and looks whether mwparserfromhell finds a link on the same page, to the
same article, that shows the same text; it prints the others. For dumps of English.
"""

from __future__ import annotations

import argparse
import html
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).parents[1]))

from spacy_elq.dumps import page_blocks
from spacy_elq.dumps.compressed import DumpFile
from spacy_elq.dumps.page_facts import read_page
from spacy_elq.dumps.wikipedia import WikipediaOptions, convert_wikipedia
from spacy_elq.dumps.xml_pages import PageReader, parse_page

_TITLE = re.compile(rb"<title>")
_END = b"</page>"


def speed(dump: Path, directory: Path) -> None:
    with DumpFile(dump) as file:
        size = len(file.stream.read())
    work: dict[str, Callable[[], object]] = {
        "pages to texts with links": lambda: parse(dump),
        "the whole command": lambda: convert(dump, directory),
        "the whole command, --keep-missing": lambda: convert(dump, directory, keep_missing=True),
    }
    if find_spec("gensim"):
        work["gensim's filter_wiki, without links"] = lambda: filter_wiki(dump)
    runs = [{name: cpu_seconds(each) for name, each in work.items()} for _ in range(3)]
    for name in work:
        rate = size / 1e6 / median(run[name] for run in runs)
        print(f"{name}: {rate:.2f} MB of XML per CPU second")


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def parse(dump: Path) -> None:
    with DumpFile(dump) as file:
        reader = PageReader(file)
        for page in reader:
            read_page(parse_page(page), reader.site)


def convert(dump: Path, directory: Path, **options: bool) -> None:
    convert_wikipedia(dump, directory / "out", WikipediaOptions(**options), overwrite=True)


def filter_wiki(dump: Path) -> None:
    from gensim.corpora import wikicorpus

    with DumpFile(dump) as file:
        for _, text, _ in wikicorpus.extract_pages(file.stream, ()):
            wikicorpus.filter_wiki(text)


def repeated(dump: Path, times: int, path: Path) -> Path:
    """Write the pages of a dump many times, each time under other titles."""
    with DumpFile(dump) as file:
        content = file.stream.read()
    begin, end = content.index(b"<page>"), content.rindex(_END) + len(_END)
    with path.open("wb") as out:
        out.write(content[:begin])
        for i in range(times):
            out.write(_TITLE.sub(b"<title>%d " % i, content[begin:end]))
        out.write(content[end:])
    return path


def peak(dump: Path, out: Path) -> float:
    """RETURNS (float): MB of resident memory that a process needed at most."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run([sys.executable, __file__, "convert", str(dump), "--out", str(out)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert after >= before
    return after / 1024


def memory(dump: Path, times: int, directory: Path) -> None:
    for count in (1, times):  # the smaller one first: the maximum of all children is known
        path = repeated(dump, count, directory / f"{count}.xml")
        size = path.stat().st_size / 1e6
        print(f"{size:.0f} MB of XML: {peak(path, directory / str(count)):.0f} MB at most")


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def kill(dump: Path, kills: int, workers: int, seed: int, directory: Path) -> None:
    command = [sys.executable, __file__, "convert", str(dump), "--workers", str(workers), "--out"]
    began = time.perf_counter()
    subprocess.run([*command, str(directory / "whole")], check=True)
    seconds = time.perf_counter() - began
    whole, rng, done, finished = files(directory / "whole"), random.Random(seed), 0, 0
    while done < kills:
        process = subprocess.Popen([*command, str(directory / "killed")])
        try:
            # Later runs find most of the work done: kill them early, too.
            process.wait(rng.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            continue
        assert process.returncode == 0 and files(directory / "killed") == whole
        finished += 1
        subprocess.run(["rm", "-r", str(directory / "killed")], check=True)
    subprocess.run([*command, str(directory / "killed")], check=True)
    assert files(directory / "killed") == whole
    print(f"{done} kills, {finished + 1} finished runs, {len(whole)} files, no difference")


class LinksOfPage:
    """The links of a page by mwparserfromhell: the title of each, as written, and what it shows.
    Those in templates, tables and references are no part of its text."""

    # Letters right after a link that belong to it, by MediaWiki's rule for English.
    trail = re.compile("[a-z]+")
    skipped = ("ref", "table", "gallery", "math", "timeline", "imagemap", "syntaxhighlight")

    def __init__(self, wikitext: str) -> None:
        import mwparserfromhell

        self.found: list[tuple[str, str]] = []
        # Bold that is never closed would take the text after it along.
        self._read(mwparserfromhell.parse(wikitext, skip_style_tags=True))

    def _read(self, code: Any) -> None:
        for node, following in zip_longest(code.nodes, code.nodes[1:]):
            kind = type(node).__name__
            if kind == "Wikilink":
                self._add(node, str(following) if type(following).__name__ == "Text" else "")
            elif kind == "Tag" and node.contents is not None and str(node.tag) not in self.skipped:
                self._read(node.contents)
            elif kind in ("Heading", "ExternalLink") and node.title is not None:
                self._read(node.title)

    def _add(self, link: Any, following: str) -> None:
        label = link.title if link.text is None or not str(link.text) else link.text
        trail = self.trail.match(following)
        shown = re.sub("''+", "", label.strip_code(collapse=False)) + (trail[0] if trail else "")
        self.found.append((title_of(str(link.title)), words(shown)))
        if link.text is not None:
            self._read(link.text)  # links in the caption of a picture


def title_of(target: str) -> str:
    title = words(html.unescape(unquote(target.partition("#")[0])).replace("_", " ")).strip(" :")
    first = title[:1].upper()
    return first + title[1:] if len(first) == 1 else title


def words(text: str) -> str:
    return " ".join(text.split())


def spans(dump: Path, count: int, seed: int, directory: Path) -> None:
    options = WikipediaOptions(keep_missing=True)
    convert_wikipedia(dump, directory / "out", options)
    drawn = [
        (row["title"], span["id"], row["text"][span["start"] : span["end"]])
        for part in sorted((directory / "out" / "texts").iterdir())
        for row in map(json.loads, part.open(encoding="utf8"))
        for span in row["spans"]
    ]
    drawn = random.Random(seed).sample(drawn, min(count, len(drawn)))
    with DumpFile(dump) as file:
        pages = {page.title: page for page in map(parse_page, PageReader(file))}
    redirects = {title: title_of(page.redirect) for title, page in pages.items() if page.redirect}
    links = {
        title: LinksOfPage(pages[title].text).found for title in {title for title, *_ in drawn}
    }
    right = 0
    for title, target, shown in drawn:
        found = [(redirects.get(to, to), text) for to, text in links[title]]
        if (target, words(shown)) in found:
            right += 1
            continue
        others = [text for to, text in found if to == target]
        print(f"{title}: {shown!r} → {target}; mwparserfromhell: {others}")
    print(f"{right} of {len(drawn)} gold spans are what mwparserfromhell shows of the same link")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "memory", "kill", "spans", "convert"))
    parser.add_argument("dump", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--spans", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.what == "convert":
        page_blocks.MAX_PAGES = 100
        convert_wikipedia(args.dump, args.out, WikipediaOptions(), workers=args.workers)
    else:
        with tempfile.TemporaryDirectory() as name:
            if args.what == "speed":
                speed(args.dump, Path(name))
            elif args.what == "memory":
                memory(args.dump, args.times, Path(name))
            elif args.what == "spans":
                spans(args.dump, args.spans, args.seed, Path(name))
            else:
                kill(args.dump, args.kills, args.workers, args.seed, Path(name))


if __name__ == "__main__":
    main()
