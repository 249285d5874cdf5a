"""What the design promises of the code itself: layers, names, sizes, packaging and documents."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forethought import errors

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "forethought"
LINKED = ("evaluators", "graphs", "nodes")

# each imports only from lines above its own; a package's own modules import each other freely
LAYERS = (
    {"errors"},
    {"config"},
    {"assignments", "config_cot", "config_thinking"},
    {"model"},
    {"presets", "prompts", "prompts_chat", "prompts_cot", "prompts_prm", "sentences"},
    {"thinking_tags", "thoughts"},
    {"chains", "questions", "replies"},
    {"engine", "stores"},
    {"remote"},
    {"models"},
    {"evaluators"},
    {"nodes"},
    {"graphs"},
    {"solve"},
    {"graph_replier", "runs"},
    {"chat"},
    {"platform", "report"},
    {"bench"},
    {"batch", "serving", "training"},
    {"cli"},
    {"__init__", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Every module's file by its name below `forethought`."""
    found = {}
    for folder in (SOURCE, *(REPOSITORY / name for name in LINKED)):
        start = SOURCE if folder == SOURCE else REPOSITORY
        for path in folder.rglob("*.py"):
            parts = path.relative_to(start).with_suffix("").parts
            if folder == SOURCE and parts[0] in LINKED:
                continue  # a link, walked in its own folder
            found[".".join(parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
PACKAGES = sorted(name.removesuffix(".__init__") for name in MODULES if name.endswith(".__init__"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PROJECT["tool"]["setuptools"]

each_module = pytest.mark.parametrize("name", sorted(MODULES))


def imports(tree: ast.Module) -> Iterator[str]:
    """The parts of `forethought` that a module imports, by their first name below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "forethought":
                    yield parts[1] if len(parts) > 1 else "__init__"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            parts = (node.module or "").split(".")
            if parts == ["forethought"]:
                yield from (a.name if a.name in LEVEL else "__init__" for a in node.names)
            elif parts[0] == "forethought":
                yield parts[1]


def test_all_modules_were_found() -> None:
    assert {"errors", "nodes.accept", "graphs.spec_search", "engine.radix", "cli.main"} <= set(
        MODULES
    )
    assert {name.split(".")[0] for name in MODULES} == set(LEVEL)


@each_module
def test_imports_go_one_way(name: str) -> None:
    own = name.split(".", maxsplit=1)[0]
    for imported in imports(TREES[name]):
        assert imported == own or LEVEL[imported] < LEVEL[own], f"{name} imports {imported}"


@each_module
def test_no_module_is_longer_than_300_lines(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 300


@each_module
def test_no_function_is_longer_than_50_lines(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"


@each_module
def test_every_module_opens_with_what_it_is(name: str) -> None:
    assert ast.get_docstring(TREES[name])


def test_no_module_is_named_for_nothing() -> None:
    stems = {part for name in MODULES for part in name.split(".")}
    assert not stems & {"base", "common", "helpers", "manager", "misc", "utils"}


# Public names


def public_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found: list[str] = ast.literal_eval(node.value)
            return found
    return None


def immediate(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those that only type checkers see among them."""
    for node in body:
        yield from node.body if isinstance(node, ast.If) else [node]


EXPORTING = sorted(name for name, tree in TREES.items() if exported(tree) is not None)


@pytest.mark.parametrize("name", EXPORTING)
def test_all_is_sorted_and_true(name: str) -> None:
    names = exported(TREES[name])
    assert names == sorted(set(names or ()), key=public_order)
    dotted = "forethought." + name
    module = importlib.import_module(dotted.removesuffix(".__init__"))
    assert all(hasattr(module, one) for one in names or ())


@pytest.mark.parametrize("name", [name for name in EXPORTING if name.endswith("__init__")])
def test_a_package_exports_all_that_it_imports_from_itself(name: str) -> None:
    imported = {
        alias.asname or alias.name
        for node in immediate(TREES[name].body)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("forethought")
        for alias in node.names
    }
    assert imported == set(exported(TREES[name]) or ())


def test_the_packages_that_users_import_from_say_what_they_export() -> None:
    packages = {f"{name}.__init__" for name in PACKAGES if name not in ("__init__", "bench", "cli")}
    assert packages | {"__init__"} <= set(EXPORTING)


# Errors


def test_the_drawn_tree_of_errors_is_that_of_the_classes() -> None:
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)", line):
            depth = len(found[1]) // 4
            drawn[found[2]] = above[depth - 1] if depth else None
            above[depth:] = [found[2]]
    classes = {
        node.name: ast.unparse(node.bases[0])
        for node in TREES["errors"].body
        if isinstance(node, ast.ClassDef)
    }
    assert drawn == {**classes, "ForethoughtError": None}
    assert list(drawn) == list(classes)


# Packaging


def test_packages_are_the_folders_with_code() -> None:
    folders = ["forethought"] + [f"forethought.{name}" for name in PACKAGES if name != "__init__"]
    assert SETUPTOOLS["packages"] == sorted(folders)


def test_every_package_is_built_from_its_own_folder() -> None:
    directories = {name: REPOSITORY / path for name, path in SETUPTOOLS["package-dir"].items()}
    assert sorted(directories) == SETUPTOOLS["packages"]
    for package, folder in directories.items():
        assert (folder / "__init__.py").is_file()
        below = package.partition(".")[2]
        assert folder == (REPOSITORY if below in LINKED else SOURCE) / below


def test_links_for_type_checkers_lead_to_the_folders_that_are_built() -> None:
    for name in LINKED:
        assert (SOURCE / name).is_symlink()
        assert (SOURCE / name).resolve() == REPOSITORY / name


def test_files_that_are_no_code_are_packaged() -> None:
    roots = (SOURCE, *(REPOSITORY / name for name in LINKED))
    data = {
        path.resolve()
        for folder in roots
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    folders = {name: REPOSITORY / path for name, path in SETUPTOOLS["package-dir"].items()}
    packaged = {
        path.resolve()
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in folders[package].glob(pattern)
    }
    assert data == packaged
    assert sum(path.stat().st_size for path in data) < 20_000_000


def in_a_fresh_python(code: str) -> str:
    """What a new interpreter prints that has neither llama.cpp nor a tensor library."""
    missing = ["jinja2", "llama_cpp", "torch", "transformers"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocked + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_imports_without_llama_cpp_and_says_what_to_install() -> None:
    names = [f"forethought.{name}".removesuffix(".__init__") for name in sorted(MODULES)]
    modules = [name for name in names if not name.endswith("__main__")]
    out = in_a_fresh_python(
        f"""
import importlib
for name in {modules}:
    importlib.import_module(name)
from forethought.engine.bindings import llama
from forethought.errors import MissingExtra
try:
    llama()
except MissingExtra as error:
    print(error)
"""
    )
    assert "forethought[llama]" in out
    assert out.count("\n") == 1


# Documents


def text_files() -> Iterator[Path]:
    """Files that belong to the repository, as far as can be told without git."""
    skipped = {"build", "dist", "__pycache__"}
    for path in REPOSITORY.rglob("*"):
        parts = path.relative_to(REPOSITORY).parts
        if any(p in skipped or p.endswith(".egg-info") for p in parts):
            continue
        if any(p.startswith(".") and p not in (".ci", ".gitignore") for p in parts):
            continue
        if path.is_file() and not path.is_symlink() and path.suffix not in (".gguf", ".png"):
            yield path


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    place = "/" + "work/"
    files = list(text_files())
    assert Path(__file__) in files
    for path in files:
        assert place not in path.read_text(encoding="utf-8", errors="replace"), path


def test_the_readme_names_every_module() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    wanted = Counter(path.name for path in MODULES.values() if path.name != "__init__.py")
    named = Counter(re.findall(r"(?<![\w.-])\w+\.py\b", readme))
    assert {name: count for name, count in wanted.items() if named[name] < count} == {}
