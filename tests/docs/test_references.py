"""References lead somewhere: in the documentation, and in docstrings and comments of the package.

Checked are modules and their members (`decoding.select_spans`), members of classes and of the
usual variables (`FaissKB.open`, `elq.top_k`), names (`num_cand_mentions`), files, and options.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import io
import re
import tokenize
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup, Token
from thinc.api import Config, Model

from spacy_elq.cli import app
from spacy_elq.pipeline.factory import DEFAULT_CONFIG

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spacy_elq"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "assets" / "README.md",
        ROOT / "projects" / "published" / "README.md",
    ]
)
# It lists names that are gone.
PAGES.remove(ROOT / "CHANGELOG.md")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
SUFFIXES = ("py", "md", "cfg", "toml", "yml", "json", "jsonl", "txt", "npy", "html", "cff", "png")
SUFFIXES += ("safetensors", "spacy", "sqlite", "bin", "gz", "db", "csv", "tsv", "faiss", "msg")

REFERENCE = re.compile(r"`+([^`]+)`+")
OPTION = re.compile(r"(?<![\w(-])--[A-Za-z][\w.-]*")
DOTTED = re.compile(r"(?<![\w./:@-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?![\w/-])")
REGISTERED = re.compile(r"spacy-elq\.\w+\.v\d")
FILE = re.compile(rf"(?<![\w./-])[\w./-]*\w\.(?:{'|'.join(SUFFIXES)})(?![\w.])|[\w.-]+/[\w./-]*")
NAME = re.compile(r"^([A-Za-z_]\w*)(?:\(.*\)| = .*|=.*)?$")
DOCSTRING_TYPE = re.compile(r"^\s*[\w*]+(?:, [\w*]+)* \(([^:]+)\):", re.MULTILINE)

# What the usual variables of the documentation hold.
VARIABLES: dict[str, Any] = {
    "doc": Doc,
    "nlp": Language(),
    "span": Span,
    "ent": Span,
    "token": Token,
    "group": SpanGroup,
    "model": Model,
    "Doc": Doc,
}
OWN_VARIABLES = {
    "elq": ("ElqLinker", "LinkerSettings"),
    "kb": ("FaissKB",),
    "entity": ("Entity",),
    "manifest": ("Manifest",),
}
# Not of this project: the published ELQ's (those with underscores aside), and other programs'.
OTHERS_OPTIONS = {
    "--interactive": "the published ELQ",
    "--shuffle": "the published ELQ",
    "--seed": "the published ELQ",
    "--extra": "spacy project assets",
    "--rule": "a CSS variable",
    "--build": "spacy package",
    "--create-meta": "spacy package",
    "--rm": "docker compose",
    "--NME--": "AIDA-CoNLL",
}
OTHERS_NAMES = {
    "prior_prob": "spaCy's Candidate",
    "entity_linker": "spaCy's component",
    "generate_empty_kb": "an argument of spaCy's EntityLinker",
    "AutoTokenizer.from_pretrained": "transformers",
    "AutoConfig.from_pretrained": "transformers",
    "loss.backward": "torch",
    "owner/name": "a hub's model",
    "main_dense.py": "the published ELQ",
    "train_elq.sh": "the published ELQ",
    "entity.jsonl": "the published ELQ",
    "biencoder_outs.jsonl": "the published ELQ",
    "classification_heads.mention_scores": "the published ELQ",
    "gold_triples": "the published ELQ",
    "gold_tuples_string": "the published ELQ",
    "pred_triples": "the published ELQ",
    "pred_tuples_string": "the published ELQ",
    "tokenized/": "the published ELQ",
    "linked_articles.jsonl": "ELEVANT",
    "linked.jsonl.run.json": "written by `elq link -o linked.jsonl`",
    "linked.jsonl": "made by a command of docs/review.md",
    "reviewed.jsonl": "made by a command of docs/review.md",
    "annotation.conf": "brat",
    "tools.conf": "brat",
    "ner.manual": "Prodigy",
    "linker.kb.cui_to_entity": "scispaCy",
    "AbbreviationDetector": "scispaCy",
    "max_entities_per_mention": "scispaCy",
    "spans.manual": "Prodigy",
    "vectors.db": "a file that Milvus Lite makes",
    "elq/kb": "in the directory of a pipeline",
    "data/kb": "in a container",
    "data/token": "in a container",
    "compose.yaml": "read by docker compose",
}
# Directories that `spacy project run` makes.
MADE = {"corpus", "kb", "training", "output", "packages", "pipelines"}


def members_of(node: ast.ClassDef) -> set[str]:
    names = {n.name for n in node.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            names.add(part.attr)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
    return names


@cache
def sources() -> dict[str, str]:
    return {module: path.read_text(encoding="utf8") for module, path in MODULES.items()}


@cache
def classes() -> dict[str, set[str]]:
    """Each class of the package, by its name → names of its members."""
    found: dict[str, set[str]] = {}
    for text in sources().values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(members_of(node))
    return found


def docstrings(tree: ast.Module) -> list[ast.Constant]:
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


@cache
def vocabulary() -> frozenset[str]:
    """Names and words of strings in code, configs and project files; none of comments."""
    words = {*dir(builtins), *dir(typing)}
    others = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "projects").rglob("*.py")]
    for text in [*sources().values(), *(path.read_text(encoding="utf8") for path in others)]:
        tree = ast.parse(text)
        prose = {id(node) for node in docstrings(tree)}
        for node in ast.walk(tree):
            if id(node) not in prose:
                for _, value in ast.iter_fields(node):
                    if isinstance(value, str):
                        words.update(re.findall(r"\w+", value))
    for pattern in ("pyproject.toml", "project.yml", "projects/*/project.yml", "configs/*.cfg"):
        for path in ROOT.glob(pattern):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf8")))
    return frozenset(words)


@cache
def options() -> frozenset[str]:
    """Options of this package's commands and benchmarks."""

    def walk(command: Any) -> Iterator[str]:
        for child in getattr(command, "commands", {}).values():
            yield from walk(child)
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)

    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "projects").rglob("*.py")]
    own = {
        option
        for path in scripts
        for option in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf8"))
    }
    return frozenset({*walk(typer.main.get_command(app)), *own})


@cache
def configs() -> tuple[Mapping[str, Any], ...]:
    default = {"components": {"elq": DEFAULT_CONFIG.get("elq", DEFAULT_CONFIG)}}
    pipeline = Language().config
    files = [
        Config().from_disk(path, interpolate=False) for path in (ROOT / "configs").glob("*.cfg")
    ]
    projects = [{"vars": yaml_vars(path)} for path in ROOT.glob("projects/*/project.yml")]
    return (default, pipeline, *files, {"vars": yaml_vars(ROOT / "project.yml")}, *projects)


def yaml_vars(path: Path) -> dict[str, str]:
    block = path.read_text(encoding="utf8").split("\nvars:\n")[1].split("\n\n")[0]
    return dict.fromkeys(re.findall(r"^  (\w+):", block, re.MULTILINE), "")


def in_config(keys: list[str]) -> bool:
    def has(block: Any, keys: list[str]) -> bool:
        if not keys:
            return True
        return isinstance(block, Mapping) and keys[0] in block and has(block[keys[0]], keys[1:])

    return any(has(config, keys) for config in configs())


@cache
def has_member(class_: str, name: str) -> bool:
    if name in classes()[class_]:
        return True
    for module, text in sources().items():
        if f"class {class_}(" in text:  # inherited ones
            found = getattr(importlib.import_module(module), class_, None)
            if hasattr(found, name) or name in getattr(found, "model_fields", ()):
                return True
    return False


@cache
def resolves(name: str) -> bool:
    """Whether a dotted reference is one of the things that such a name may mean."""
    parts = name.split(".")
    root, *rest = parts
    if root == "self" or root[:2] == "__":
        return rest[-1] in vocabulary()
    if root in VARIABLES and hasattr(VARIABLES[root], rest[0]):
        return True
    for class_ in OWN_VARIABLES.get(root, (root,)):
        if class_ in classes() and has_member(class_, rest[0]):
            return True
    if in_config(parts):
        return True
    is_own = False
    for count in range(len(parts), 0, -1):
        suffix = ".".join(parts[:count])
        for module in MODULES:
            if module == suffix or module.endswith("." + suffix):
                is_own = True
                if count == len(parts) or in_module(module, parts[count:]):
                    return True
    return not is_own and root != "spacy_elq" and importlib.util.find_spec(root) is not None


def in_module(module: str, names: list[str]) -> bool:
    found: Any = importlib.import_module(module)
    if not hasattr(found, names[0]):
        return False
    return len(names) == 1 or names[0] not in classes() or has_member(names[0], names[1])


def is_file(name: str, near: Path) -> bool:
    if name.startswith("/") or name.split("/")[0].split(".")[0].isupper():  # the reader's
        return True
    if name.startswith(".") and "/" not in name:  # a suffix, or a file of the repository
        return name.count(".") <= 2
    if any((base / name).exists() for base in (ROOT, PACKAGE, near)):
        return True
    if "/" in name:
        is_made = name.split("/")[0] in MADE and not name.endswith(".py")
        return is_made or name in project_files()
    return name in file_names()


@cache
def project_files() -> str:
    return "".join(path.read_text(encoding="utf8") for path in ROOT.glob("projects/*/project.yml"))


@cache
def file_names() -> frozenset[str]:
    """Names of the repository's files, and those that code, configs and examples name."""
    folders = ("spacy_elq", "docs", "tests", "configs", "assets", "projects", "benchmarks")
    names = {path.name for folder in folders for path in (ROOT / folder).rglob("*.*")}
    for text in sources().values():
        names.update(re.findall(rf"[\w-][\w.-]*\.(?:{'|'.join(SUFFIXES)})", text))
    for page in PAGES:
        for block in re.findall(r"```.*?```", page.read_text(encoding="utf8"), re.DOTALL):
            names.update(re.findall(rf"[\w-][\w.-]*\.(?:{'|'.join(SUFFIXES)})", block))
    return frozenset(name for name in names if not name.endswith(".py")) | {
        path.name for folder in folders for path in (ROOT / folder).rglob("*.py")
    }


def dead_parts(reference: str, near: Path) -> Iterator[str]:
    """The parts of a reference in backticks that lead nowhere."""
    if "://" in reference or "\n\n" in reference:
        return
    for option in OPTION.findall(reference):
        # The published ELQ's options have underscores; no option here has.
        keys = option[2:].split(".")
        known = option in options() or option in OTHERS_OPTIONS or "_" in option
        if not (known if len(keys) == 1 else in_config(keys)):
            yield option
    text = OPTION.sub(" ", re.sub(r"(['\"]).*?\1", "''", reference))
    yield from (name for name in REGISTERED.findall(reference) if name not in registered())
    text = REGISTERED.sub(" ", text)
    for name in FILE.findall(text):
        if not (is_other(name) or is_file(name, near)):
            yield name
    text = FILE.sub(" ", text)
    for name in DOTTED.findall(text):
        if not (is_other(name) or name.split(".")[0].isupper() or resolves(name)):
            yield name
    single = NAME.match(text.strip())
    if single and is_code(single[1]) and single[1] not in vocabulary() | OTHERS_NAMES.keys():
        yield single[1]


@cache
def registered() -> frozenset[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf8")
    return frozenset(REGISTERED.findall(text))


def is_other(name: str) -> bool:
    return any(name.startswith(other) for other in OTHERS_NAMES)


def is_code(name: str) -> bool:
    """Whether a word is a name of code: it has an underscore, or a capital inside."""
    return "_" in name.strip("_") or re.search(r"[a-z][A-Z]", name) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf8"), flags=re.DOTALL | re.MULTILINE
    )
    dead = {
        part for reference in REFERENCE.findall(text) for part in dead_parts(reference, page.parent)
    }
    assert not dead, f"{page.name}: {sorted(dead)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_pages(page: Path) -> None:
    text = page.read_text(encoding="utf8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and not anchor.startswith(":"):
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]


@pytest.mark.parametrize(
    "wing", sorted({module.split(".")[1] for module in MODULES if "." in module})
)
def test_docstrings_and_comments(wing: str) -> None:
    dead = []
    for module, text in sources().items():
        if module.split(".")[1:2] == [wing]:
            dead += [f"{module}: {part}" for part in sorted(dead_in(text, MODULES[module].parent))]
    assert not dead, "\n".join(dead)


def dead_in(source: str, near: Path) -> set[str]:
    prose = [node.value for node in docstrings(ast.parse(source))]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    references = REFERENCE.findall("\n\n".join([*prose, " ".join(comments)]))
    dead = {part for reference in references for part in dead_parts(reference, near)}
    types = [type_ for block in prose for type_ in DOCSTRING_TYPE.findall(block)]
    return dead.union(*({*re.findall(r"[A-Z]\w+", type_)} - vocabulary() for type_ in types))
