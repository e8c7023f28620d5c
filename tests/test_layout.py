"""The layout that docs/architecture.md draws: imports run downward, and stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spacy_elq"
PICTURE = ROOT / "docs" / "architecture.md"
GROUND = "ground"
MAX_GROUND_FILES = 10


def floors() -> list[list[str]]:
    """The wings of each floor, top to bottom: `kb/live` for a wing drawn inside of `kb`."""
    block = PICTURE.read_text(encoding="utf8").split("```text\n")[1].split("```")[0]
    result: list[list[str]] = []
    for line in block.splitlines():
        if not line.strip() or line.startswith(" " * 10):  # the rest of a description
            continue
        names = line.strip().split("  ")[0].split(" · ")
        outer = result[-1][0].split("/")[0] + "/" if line.startswith(" ") else ""
        result.append([outer + name for name in names])
    return result


FLOORS = floors()
HEIGHT = {wing: -depth for depth, wings in enumerate(FLOORS) for wing in wings}
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def wing_of(module: str) -> str:
    """The innermost wing of the picture that a module (`spacy_elq/kb/live/view`) stands in."""
    inside = module.removeprefix("spacy_elq").strip("/").split("/")
    for depth in range(len(inside), 0, -1):
        if (wing := "/".join(inside[:depth])) in HEIGHT:
            return wing
    return GROUND


def imported(module: str, path: Path) -> Iterator[str]:
    """Modules of the package that a module names in imports, wherever those stand in the file."""
    package = module.split("/") if path.name == "__init__.py" else module.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (found for alias in node.names if (found := resolve(alias.name.split("."))))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                if found := resolve([*base, alias.name]) or resolve(base):
                    yield found


def resolve(parts: list[str]) -> str | None:
    return name if (name := "/".join(parts)) in MODULES else None


IMPORTS = {
    module: sorted(set(imported(module, path)) - {module}) for module, path in MODULES.items()
}


def test_every_wing_is_drawn():
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in MODULES.values()}
    assert HEIGHT.keys() - {GROUND} == folders - {"."}


def test_imports_run_downward():
    upward = []
    for module, others in IMPORTS.items():
        for other in others:
            here, there = wing_of(module), wing_of(other)
            if here != there and HEIGHT[here] <= HEIGHT[there]:
                upward.append(f"{module} ({here}) imports {other} ({there})")
    assert not upward, "\n".join(upward)


def test_no_two_files_import_each_other():
    mutual = {
        tuple(sorted((module, other)))
        for module, others in IMPORTS.items()
        for other in others
        if module in IMPORTS[other]
    }
    assert not mutual


def test_few_files_lie_on_the_ground():
    ground = sorted(path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py")
    assert len(ground) <= MAX_GROUND_FILES, ground


@pytest.mark.slow
@pytest.mark.parametrize("module", ["spacy_elq", "spacy_elq.pipeline.factory", "spacy_elq.cli"])
def test_importing_loads_neither_torch_nor_faiss(module):
    # spaCy itself loads torch where it is installed: the import must work where it is not.
    absent = ("torch", "faiss", "transformers", "spacy_transformers")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import {module}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
