"""How long a pipeline takes from `import spacy` to its first link, and the memory it has then.

python benchmarks/start.py PIPELINE TEXT [--repeat 5]

Every run is a process of its own; the medians are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

RUN = """
import json, sys, time
times = {}
def lap(name, since=[time.perf_counter()]):
    now = time.perf_counter()
    times[name], since[0] = now - since[0], now
import spacy; lap("import spacy")
nlp = spacy.load(sys.argv[1]); lap("load")
doc = nlp(sys.argv[2]); lap("first text")
nlp(sys.argv[2]); lap("second text")
status = dict(line.split(":", 1) for line in open("/proc/self/smaps_rollup").readlines()[1:])
megabytes = {name: int(status[name].split()[0]) / 1e3 for name in ("Rss", "Anonymous")}
links = [(ent.text, ent.kb_id_) for ent in doc.ents]
count = len(nlp.get_pipe("elq").kb)
print(json.dumps({"s": times, "MB": megabytes, "links": links, "entities": count}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pipeline")
    parser.add_argument("text")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    command = [sys.executable, "-c", RUN, args.pipeline, args.text]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(args.repeat)]
    print(f"{runs[0]['entities']:,} entities; links: {runs[0]['links']}")
    for unit in ("s", "MB"):
        for name in runs[0][unit]:
            median = statistics.median(run[unit][name] for run in runs)
            print(f"{name:12} {median:9.3f} {unit}")
    start = statistics.median(
        run["s"]["import spacy"] + run["s"]["load"] + run["s"]["first text"] for run in runs
    )
    print(f"{'start':12} {start:9.3f} s")


if __name__ == "__main__":
    main()
