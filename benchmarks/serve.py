"""How fast and how robust a service is. Linux only.

    python benchmarks/serve.py load PIPELINE TEXTS.jsonl [--requests 2000] [--repeat 3]
    python benchmarks/serve.py memory PIPELINE TEXTS.jsonl [--requests 50000]
    python benchmarks/serve.py kill PIPELINE [--kills 20]
    python benchmarks/serve.py malformed PIPELINE [--requests 10000]

"load" prints requests/s and the median and 99th percentile of their times at 1, 8 and 32
connections on loopback, one text a request, and texts/s over those of `nlp.pipe` in one process,
in turns; also per CPU second of the process, which other programs on the machine disturb less.
"memory" prints the resident memory of a service over many requests. "kill" ends services by SIGKILL
while they write, and checks that nothing answered is lost. "malformed" sends requests that no
client should send, and checks that no answer is a 5xx. Set OMP_NUM_THREADS to compare runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
import spacy

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serve.hardship import kill_writers, send_malformed

CONNECTIONS = (1, 8, 32)
Process = subprocess.Popen[bytes]


def start(pipeline: Path) -> tuple[Process, int]:
    """RETURNS (tuple[Popen, int]): A service that is ready, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    command = [sys.executable, "-m", "spacy", "elq", "serve", str(pipeline), "--port", str(port)]
    process = subprocess.Popen([*command, "--quiet"])
    while True:
        if process.poll() is not None:
            raise SystemExit("the service did not start")
        try:
            httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).raise_for_status()
            return process, port
        except httpx.TransportError:
            time.sleep(0.1)


@contextmanager
def service(pipeline: Path) -> Iterator[tuple[Process, int]]:
    process, port = start(pipeline)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait()


async def send_all(port: int, texts: Sequence[str], connections: int) -> list[float]:
    """Link each text by a request; a client of its own, since others take longer than the service.

    RETURNS (list[float]): Seconds of each request.
    """
    rest, seconds = iter(texts), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for text in rest:
            body = json.dumps({"text": text}).encode()
            head = "POST /link HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            began = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            seconds.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return seconds


def measure_load(pipeline: Path, texts: Sequence[str], repeat: int) -> None:
    nlp = spacy.load(pipeline)
    list(nlp.pipe(texts[:200]))
    ratios: dict[int, list[tuple[float, float]]] = {count: [] for count in CONNECTIONS}
    with service(pipeline) as (process, port):
        asyncio.run(send_all(port, texts[:200], 8))
        for _ in range(repeat):
            began, cpu = time.perf_counter(), time.process_time()
            list(nlp.pipe(texts))
            pipe, pipe_cpu = time.perf_counter() - began, time.process_time() - cpu
            rates = f"{len(texts) / pipe:.0f} texts/s, {len(texts) / pipe_cpu:.0f} a CPU second"
            print(f"nlp.pipe: {rates}", flush=True)
            for count in CONNECTIONS:
                began, cpu = time.perf_counter(), _cpu_seconds(process.pid)
                seconds = asyncio.run(send_all(port, texts, count))
                wall, cpu = time.perf_counter() - began, _cpu_seconds(process.pid) - cpu
                ratios[count].append((pipe / wall, pipe_cpu / cpu))
                p50, p99 = 1000 * np.quantile(seconds, (0.5, 0.99))
                rates = f"{len(texts) / wall:.0f} requests/s, {len(texts) / cpu:.0f} a CPU second"
                print(f"{count:2}: {rates}, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    for count, found in ratios.items():
        wall, cpu = map(statistics.median, zip(*found, strict=True))
        print(f"{count:2} connections: {wall:.2f} of nlp.pipe, {cpu:.2f} by CPU seconds")


def _cpu_seconds(pid: int) -> float:
    """RETURNS (float): User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_memory(pipeline: Path, texts: Sequence[str]) -> None:
    steps = 10
    size = len(texts) // steps
    with service(pipeline) as (process, port):
        for step in range(steps + 1):
            print(f"{step * size} requests: {_resident(process.pid):.0f} MB", flush=True)
            # Each text is another one, with words that were never seen.
            some = texts[step * size : (step + 1) * size]
            asyncio.run(send_all(port, [f"{text} w{step}x{i}" for i, text in enumerate(some)], 16))


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def check_malformed(pipeline: Path, count: int, seed: int) -> None:
    with service(pipeline) as (process, port):
        before = _resident(process.pid)
        print(dict(send_malformed(("127.0.0.1", port), count, seed)))
        url = f"http://127.0.0.1:{port}/link"
        assert httpx.post(url, json={"text": "paris"}, trust_env=False).status_code == 200
        assert process.poll() is None
        print(f"resident: {before:.0f} MB before, {_resident(process.pid):.0f} MB after")


def check_kills(pipeline: Path, kills: int, seed: int) -> None:
    from tests.serve.test_process import start_fork

    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copytree(pipeline, Path(directory) / "pipeline")
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it warns of forks
        spacy.load(copy)("hello")  # what is imported now, no service has to import
        print(dict(kill_writers(copy, partial(start_fork, copy), kills, seed)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("load", "memory", "kill", "malformed"))
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("texts", type=Path, nargs="?", help="JSONL with a field text")
    parser.add_argument("--requests", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "malformed":
        check_malformed(args.pipeline, args.requests or 10_000, args.seed)
    elif args.what == "kill":
        check_kills(args.pipeline, args.kills, args.seed)
    else:
        lines = args.texts.read_text(encoding="utf8").splitlines()
        count = args.requests or (50_000 if args.what == "memory" else 2000)
        texts = list(islice(cycle(json.loads(line)["text"] for line in lines), count))
        if args.what == "memory":
            measure_memory(args.pipeline, texts)
        else:
            measure_load(args.pipeline, texts, args.repeat)


if __name__ == "__main__":
    main()
