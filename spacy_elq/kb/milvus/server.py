"""Addresses and collections of a Milvus server, or of a Milvus Lite file.

A row of a collection is a vector: `id` is its number, 0..V-1 in the order of the entities;
`entity` is the row of the entity that owns it; `vector` is the vector.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from ...errors import ElqError, Errors

if TYPE_CHECKING:
    from pymilvus import MilvusClient

PREFIX = "milvus:"
TOKEN = "MILVUS_TOKEN"
# The server that the token is for.
SERVER = "MILVUS_URI"
FLAT = "FLAT"
# Kinds of index that work well without settings.
KINDS = (FLAT, "HNSW", "DISKANN", "AUTOINDEX")
# Bytes of vectors sent or fetched at once; servers accept messages of up to 64 MB.
BYTES_AT_ONCE = 8 << 20
# Hits requested at once, over all queries.
HITS_AT_ONCE = 1 << 18
# Seconds before a connection attempt, and a call, is given up.
CONNECT_TIMEOUT, CALL_TIMEOUT = 10, 120
_NAME = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)
# The servers and files that the user named in this process; a manifest may be somebody else's.
_named: set[str] = set()


@dataclass(frozen=True)
class MilvusAddress:
    """The parts of an address "milvus:URI[?index=KIND][#NAME]".

    uri (str): "http://host:port", or the absolute path of a Milvus Lite file, "….db".
    kind (str): Kind of the server's index, one of `KINDS`: "FLAT" is exact, the others may miss
        vectors.
    name (str): Prefix of the names of collections.
    """

    uri: str
    kind: str = FLAT
    name: str = "elq"

    @classmethod
    def parse(cls, spec: str) -> MilvusAddress:
        """RETURNS (MilvusAddress): The parts of an address.
        RAISES (ElqError): If the address is invalid, or contains a password."""
        rest, _, name = spec.removeprefix(PREFIX).partition("#")
        uri, _, query = rest.partition("?")
        kind = query.removeprefix("index=").upper() if query else FLAT
        reason = ""
        if "@" in uri:
            reason = f"a password would be stored; put user:password into the variable {TOKEN}"
        elif kind not in KINDS:
            reason = f"{query!r} is not index=KIND with one of {', '.join(KINDS)}"
        elif name and not _NAME.fullmatch(name):
            reason = f"{name!r} is not a name of a collection"
        elif "://" not in uri and not uri.endswith(".db"):
            reason = f"{uri!r} is neither a server nor a file that ends in .db"
        if reason:
            raise ElqError(Errors.ELQ260.format(spec=spec, reason=reason))
        if "://" not in uri:
            uri = str(Path(uri).absolute())
        return cls(uri, kind, name or cls.name)

    def name_by_user(self) -> None:
        """Note that the user named this address: its server may get the token."""
        _named.add(_place(self.uri))

    @property
    def is_named(self) -> bool:
        """RETURNS (bool): Whether the user named this address, in this process or as the variable
        MILVUS_URI."""
        return _place(self.uri) in {*_named, _place(os.environ.get(SERVER, ""))}

    @property
    def is_file(self) -> bool:
        """RETURNS (bool): Whether the address is a Milvus Lite file."""
        return "://" not in self.uri

    @property
    def spec(self) -> str:
        """RETURNS (str): The complete address."""
        kind = "" if self.kind == FLAT else f"?index={self.kind}"
        return f"{PREFIX}{self.uri}{kind}#{self.name}"


class MilvusCollection:
    """A collection on a server. Connects when it is first used, and again in a forked process.

    address (MilvusAddress): The server.
    name (str): Name of the collection.
    """

    def __init__(self, address: MilvusAddress, name: str) -> None:
        self.address = address
        self.name = name
        self._connection: tuple[int, MilvusClient] | None = None

    @property
    def client(self) -> MilvusClient:
        """RETURNS (MilvusClient): The connection of this process.
        RAISES (ElqError): If pymilvus is missing, or the server does not answer."""
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = os.getpid(), connect(self.address)
        return self._connection[1]

    @contextmanager
    def _guarded(self) -> Iterator[MilvusClient]:
        """YIELDS (MilvusClient): The connection; its exceptions become an `ElqError`."""
        client = self.client
        from pymilvus import MilvusException

        try:
            yield client
        except MilvusException as err:
            raise ElqError(
                Errors.ELQ265.format(name=self.name, uri=self.address.uri, reason=err.message)
            ) from err

    # Writing

    def create(self, width: int) -> None:
        """Create the collection, empty and without an index."""
        with self._guarded() as client:
            from pymilvus import DataType

            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("entity", DataType.INT64)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
            client.create_collection(self.name, schema=schema, consistency_level="Bounded")

    def is_unfinished(self) -> bool:
        """RETURNS (bool): Whether the collection exists, and a build did not finish it."""
        with self._guarded() as client:
            return client.has_collection(self.name) and not client.list_indexes(self.name)

    def drop(self) -> None:
        """Remove the collection, if it exists."""
        with self._guarded() as client:
            client.drop_collection(self.name)

    def write(self, first: int, vectors: np.ndarray, owners: np.ndarray, *, again: bool) -> None:
        """Add rows.

        first (int): `id` of the first vector.
        vectors (ndarray): (n, h), float32.
        owners (ndarray): Entity row of each, (n,).
        again (bool): Whether some of the rows may exist already; they are replaced.
        """
        step = rows_at_once(vectors.shape[1])
        with self._guarded() as client:
            send = client.upsert if again else client.insert
            for start in range(0, len(vectors), step):
                part = slice(start, start + step)
                block = zip(vectors[part], owners[part].tolist(), strict=True)
                rows = enumerate(block, first + start)
                send(self.name, [{"id": i, "entity": row, "vector": v} for i, (v, row) in rows])

    def finish(self) -> None:
        """Build the index, and load the collection for searches."""
        with self._guarded() as client:
            client.flush(self.name)
            if not client.list_indexes(self.name):
                index = client.prepare_index_params()
                index.add_index("vector", index_type=self.address.kind, metric_type="IP")
                client.create_index(self.name, index)
            client.load_collection(self.name)

    # Reading

    def exists(self) -> bool:
        """RETURNS (bool): Whether the server has the collection."""
        with self._guarded() as client:
            return bool(self.name and client.has_collection(self.name))

    def check(self, width: int, vectors: int) -> None:
        """RAISES (ElqError): Unless the collection exists and has this number of vectors of this
        width."""
        if not self.exists():
            raise ElqError(Errors.ELQ263.format(name=self.name, uri=self.address.uri))
        with self._guarded() as client:
            fields = client.describe_collection(self.name)["fields"]
            client.load_collection(self.name)  # a restarted server may not have
            # Waits for all earlier writes, so that later searches need not.
            counted = client.query(
                self.name, output_fields=["count(*)"], consistency_level="Strong"
            )
        found = (
            int(counted[0]["count(*)"]),
            next((int(f["params"]["dim"]) for f in fields if f["name"] == "vector"), 0),
        )
        if found != (vectors, width):
            problem = f"{found[0]} vectors of width {found[1]}, not {vectors} of width {width}"
            raise ElqError(
                Errors.ELQ264.format(name=self.name, uri=self.address.uri, problem=problem)
            )

    def search(self, queries: np.ndarray, limit: int, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Find the vectors with the largest inner products.

        queries (ndarray): (M, h), float32.
        where (str): Filter expression, or "".
        RETURNS (tuple[ndarray, ndarray]): Scores (M, limit), float32, descending, and the numbers
            of the vectors (M, limit), int64; padded with -inf and -1.
        """
        scores = np.full((len(queries), limit), -np.inf, dtype=np.float32)
        numbers = np.full((len(queries), limit), -1, dtype=np.int64)
        step = max(1, min(HITS_AT_ONCE // limit, rows_at_once(queries.shape[1])))
        with self._guarded() as client:
            for start in range(0, len(queries), step):
                block = list(queries[start : start + step])
                found = client.search(
                    self.name,
                    data=block,
                    limit=limit,
                    filter=where,
                    output_fields=["id"],
                    anns_field="vector",
                    timeout=CALL_TIMEOUT,
                )
                for line, hits in enumerate(found, start):
                    scores[line, : len(hits)] = [hit["distance"] for hit in hits]
                    numbers[line, : len(hits)] = [hit["id"] for hit in hits]
        return scores, numbers

    def vectors(self, numbers: np.ndarray, width: int) -> np.ndarray:
        """RETURNS (ndarray): The vectors with these numbers (n, h), float32; the numbers are
        distinct and ascending."""
        result = np.empty((len(numbers), width), dtype=np.float32)
        for start, rows in self._blocks(numbers, rows_at_once(width), "vector"):
            result[start : start + len(rows)] = rows
        return result

    def entities(self, count: int) -> Iterator[np.ndarray]:
        """YIELDS (ndarray): The entity row of each vector, block by block."""
        for _, rows in self._blocks(np.arange(count), 1 << 14, "entity"):
            yield np.asarray(rows, dtype=np.int64)

    def _blocks(
        self, numbers: np.ndarray, step: int, field: str
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        for start in range(0, len(numbers), step):
            block = numbers[start : start + step].tolist()
            with self._guarded() as client:
                rows = client.get(
                    self.name, block, output_fields=["id", field], timeout=CALL_TIMEOUT
                )
            values = {row["id"]: row[field] for row in rows}
            lost = [number for number in block if number not in values]
            if lost:
                problem = f"no vector {lost[0]}"
                raise ElqError(
                    Errors.ELQ264.format(name=self.name, uri=self.address.uri, problem=problem)
                )
            yield start, [values[number] for number in block]


def rows_at_once(width: int) -> int:
    """RETURNS (int): Number of vectors in one message; servers accept and return 16,384 at most."""
    return max(1, min(1 << 14, BYTES_AT_ONCE // (4 * width)))


def _place(uri: str) -> str:
    """RETURNS (str): Scheme, host and port of a server; the path of a file."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else uri


def _token(address: MilvusAddress) -> str:
    """RETURNS (str): The token for a server.
    RAISES (ElqError): If the user did not name the server."""
    token = "" if address.is_file else os.environ.get(TOKEN, "")
    if token and not address.is_named:
        names = {"uri": address.uri, "token": TOKEN, "server": SERVER}
        raise ElqError(Errors.ELQ290.format(**names))
    return token


def _check_file(address: MilvusAddress) -> None:
    if address.is_file and not address.is_named and not Path(address.uri).exists():
        raise ElqError(Errors.ELQ267.format(uri=address.uri, reason="there is no such file"))


def connect(address: MilvusAddress) -> MilvusClient:
    """Connect to a server, with the token in the environment variable MILVUS_TOKEN, if it is set;
    or open a Milvus Lite file, created if it is missing and the user named it.

    RAISES (ElqError): If pymilvus is missing, the connection fails, or the token is for another
        server.
    """
    token = _token(address)
    _check_file(address)
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise ElqError(Errors.ELQ261.format(uri=address.uri)) from None
    # They also log every exception they raise, with a traceback; the server of Milvus Lite logs
    # calls that it does not support.
    for name in ("pymilvus", "milvus_lite", *(["grpc._server"] if address.is_file else [])):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return MilvusClient(
            address.uri,
            token=token,
            timeout=CONNECT_TIMEOUT,
            # A forked process can't use the connection of its parent.
            dedicated=parent_process() is not None,
        )
    except MilvusException as err:
        message = Errors.ELQ267 if address.is_file else Errors.ELQ262
        raise ElqError(message.format(uri=address.uri, reason=err.message, token=TOKEN)) from err
