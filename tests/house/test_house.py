"""The house: who imports whom, what import costs, and that the README's tree is the tree."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import PAGES, tree

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "askmask"
FILES = sorted(PACKAGE.rglob("*.py"))

# part -> parts it may import; what is not named here may import nothing of the package but errors
ALLOWED = {
    "imaging": set(),
    "conversation": {"imaging"},
    "history": {"conversation", "imaging"},
    "answer": {"conversation", "imaging", "show"},
    "show": {"answer", "conversation", "imaging", "session"},
    "backend": {"answer", "conversation", "imaging"},
    "backends": {
        "references",
        "backend",
        "answer",
        "conversation",
        "history",
        "model",
        "imaging",
        "pointing",
        "segmenters",
        "vlm",
    },
    "formats": {"conversation", "imaging"},
    "model": {"imaging"},
    "vlm": {"imaging"},
    "segmenters": {"model", "imaging", "hub", "loading"},
    "pointing": {"vlm", "conversation", "imaging"},
    "catalogue": {"hub", "loading", "pointing", "segmenters"},
    "detectors": {"vlm", "imaging", "pointing", "conversation"},
    "hub": {"model"},
    "loading": {"model", "backends", "session", "hub", "pointing", "segmenters", "detectors", "vlm"},
    "references": {"conversation"},
    "algebra": {"conversation", "references"},
    "asking": {"algebra", "answer", "backend", "conversation", "imaging", "references"},
    "editing": {"conversation", "history"},
    "chat": {"answer", "backend", "conversation", "imaging", "session"},
    "session": {"asking", "backend", "editing", "answer", "conversation", "history", "imaging", "show"},
    "batch": {"session", "backend", "answer", "imaging", "formats", "show"},
    "serving": {"session", "backend", "answer", "conversation", "formats", "imaging"},
    "sources": {"answer", "batch", "conversation", "formats", "imaging", "engine"},
    "convert": {"sources", "conversation", "formats", "imaging"},
    "doctor": {"answer", "loading", "model", "hub", "pointing", "segmenters"},
    "world": {"conversation", "imaging", "formats"},
    "build": {"conversation", "imaging", "formats", "segmenters", "vlm"},
    "evaluation": {
        "answer",
        "asking",
        "backend",
        "references",
        "conversation",
        "history",
        "imaging",
        "formats",
        "vlm",
    },
    "engine": {"conversation", "imaging", "formats", "vlm", "segmenters", "detectors", "hub"},
    "training": {
        "backend",
        "backends",
        "history",
        "model",
        "formats",
        "evaluation",
        "conversation",
        "imaging",
        "world",
        "segmenters",
    },
}
FREE = ("cli", "__init__", "__main__", "errors", "notes")  # may import from anywhere
# Parts that do without the heavy libraries until a call needs one.
LIGHT = {
    "imaging",
    "conversation",
    "history",
    "backend",
    "session",
    "answer",
    "formats",
    "errors",
    "__init__",
    "cli",
    "evaluation",
    "world",
    "runs",
}
# Of these an import at the top of a file would break what promises not to need them.
HEAVY = {"torch", "transformers", "peft", "mujoco", "huggingface_hub", "openai", "pyarrow", "ray"}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, top_only: bool = False):
    tree = parsed(path)
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if part(path) not in FREE], ids=name_of)
def test_imports_point_one_way(path):
    here = part(path)
    # How things are written to disk is everybody's.
    allowed = (
        ALLOWED.get(here, set())
        | {here, "errors", "notes", "__init__"}
        | ({"runs"} if here != "runs" else set())
    )
    for name in imports(path):
        if name.split(".")[0] == "askmask":
            target = name.split(".")[1] if "." in name else "__init__"
            assert target in allowed, f"{here} imports {name}"


@pytest.mark.parametrize("path", [path for path in FILES if part(path) in LIGHT], ids=name_of)
def test_heavy_libraries_stay_where_they_belong(path):
    found = {name.split(".")[0] for name in imports(path, top_only=True)} & HEAVY
    assert not found, f"{path.name} imports {found} at its top"


def test_import_needs_neither_torch_nor_transformers():
    code = (
        "import sys, askmask; from askmask import Mask, Round, Example, Answer; import askmask.cli.app as a; "
        "a.register_commands(); print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_public_names_exist():
    import askmask

    for name in askmask.__all__:
        assert name == "__version__" or callable(getattr(askmask, name)), name
    assert set(askmask.__all__) <= set(dir(askmask))
    with pytest.raises(AttributeError):
        askmask.nothing  # noqa: B018


def test_every_module_says_what_it_is_for():
    for path in FILES:
        assert ast.get_docstring(parsed(path)), path


def test_text_is_written_in_one_way():
    """`Path.write_text` stops at a name that is no UTF-8, and leaves half a file where the disk is full."""
    for path in FILES:
        assert ".write_text(" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(("page", "depth"), PAGES.items())
def test_the_pages_show_the_tree_as_it_is(page, depth):
    assert tree(depth) in (ROOT / page).read_text(encoding="utf-8"), "run: python -m tests.house.tree --write"


def test_what_users_are_told_to_install_is_what_the_extra_brings():
    """`pip install 'askmask[extra]'` must bring the library that was missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = _libraries(project["dependencies"])
    told = []
    for path in (ROOT / "askmask").rglob("*.py"):
        for extra in re.findall(
            r"extra `\[([a-z]+)\]`|askmask\[([a-z,]+)\]", path.read_text(encoding="utf-8")
        ):
            told += [(path.name, one, None) for one in "".join(extra).split(",")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtra":
                library, extra = node.args
                name = library.value if isinstance(library, ast.Constant) else None
                told.append((path.name, extra.value, name))
    assert len(told) > 15
    for file, extra, library in told:
        brought = core | _libraries(project["optional-dependencies"][extra])
        assert library is None or library in brought, f"{file}: {library} is not of [{extra}]"


def _libraries(requirements):
    return {re.match(r"[A-Za-z0-9_-]+", one)[0].lower() for one in requirements}
