"""What reading a dump of Wikipedia costs, and that a killed run resumes. Linux only.

    python benchmarks/wikipedia.py speed DUMP
    python benchmarks/wikipedia.py memory DUMP [--times 20]
    python benchmarks/wikipedia.py kill DUMP [--kills 30] [--seed 0]

"speed" reads the dump's pages and parses them in this process: MB of XML per CPU second; beside it
gensim's `filter_wiki`, where gensim is installed. "memory" compares the peak memory of the command
on the dump and on its pages repeated under other titles. "kill" ends the command by SIGKILL at
random times, lets it resume each time, and compares every file with those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from spacy_elq.dumps import page_blocks
from spacy_elq.dumps.compressed import DumpFile
from spacy_elq.dumps.page_facts import read_page
from spacy_elq.dumps.wikipedia import WikipediaOptions, convert_wikipedia
from spacy_elq.dumps.xml_pages import PageReader, parse_page

_TITLE = re.compile(rb"<title>")
_END = b"</page>"


def megabytes_per_second(work: Callable[[], object], size: int) -> float:
    began = time.process_time()
    work()
    return size / 1e6 / (time.process_time() - began)


def speed(dump: Path) -> None:
    def read() -> int:
        with DumpFile(dump) as file:
            reader = PageReader(file)
            return sum(len(read_page(parse_page(page), reader.site)[1]) for page in reader)

    with DumpFile(dump) as file:
        size = len(file.stream.read())
    runs = sorted(megabytes_per_second(read, size) for _ in range(3))
    print(f"pages to texts with links: {runs[1]:.2f} MB of XML per CPU second")
    try:
        from gensim.corpora.wikicorpus import extract_pages, filter_wiki
    except ImportError:
        return

    def filtered() -> None:
        with DumpFile(dump) as file:
            for _, text, _ in extract_pages(file.stream, ()):
                filter_wiki(text)

    runs = sorted(megabytes_per_second(filtered, size) for _ in range(3))
    print(f"gensim's filter_wiki, without links: {runs[1]:.2f} MB")


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


def kill(dump: Path, kills: int, seed: int, directory: Path) -> None:
    command = [sys.executable, __file__, "convert", str(dump), "--out"]
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "memory", "kill", "convert"))
    parser.add_argument("dump", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.what == "convert":
        page_blocks.MAX_PAGES = 100
        convert_wikipedia(args.dump, args.out, WikipediaOptions())
    elif args.what == "speed":
        speed(args.dump)
    else:
        with tempfile.TemporaryDirectory() as name:
            if args.what == "memory":
                memory(args.dump, args.times, Path(name))
            else:
                kill(args.dump, args.kills, args.seed, Path(name))


if __name__ == "__main__":
    main()
