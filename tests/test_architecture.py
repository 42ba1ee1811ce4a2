"""Imports follow the road of a pair: a module may import from those below it, never from those above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import iptdata

PACKAGE = Path(iptdata.__file__).parent
STAGES = [
    {"cli", "__main__"},
    {"studies"},
    {"evaluation"},
    {"training", "restoration", "inspection"},
    {"stream", "model"},
    {"builder"},
    {"parallel"},
    {"shards"},
    {"pairs"},
    {"source", "recipe"},
    {"degradations"},
    {"image"},
    {"files"},
    {"rng", "clock", "machine", "process", "take", "nfc", "units", "markdown", "yaml_file", "options"},
    {"compute", "errors", "lazy", "regular_file", "values"},
]
LEVELS = {name: level for level, names in enumerate(STAGES) for name in names}
ONLY_IN = {
    "ray": {"parallel"},
    "click": {"cli"},
    "rich": {"cli"},
    "vl_convert": {"studies"},
    "webdataset": set(),  # it runs what a tar or a URL asks for
    "torch": {"stream", "model", "training", "evaluation", "restoration"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def stage(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "iptdata":
            names |= {f"iptdata.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    own = stage(path)
    if own == "__init__":
        return  # see test_the_package_itself_imports_nothing
    for name in imported(path):
        root, *rest = name.split(".")
        if root == "iptdata" and rest and rest[0] in LEVELS and rest[0] != own:
            assert LEVELS[rest[0]] > LEVELS[own] or {own, rest[0]} == {"cli", "__main__"}, f"{path.name} imports {name}"
        if root in ONLY_IN:
            assert own in ONLY_IN[root], f"{path} imports {root}"


def test_the_package_itself_imports_nothing() -> None:
    """`import iptdata` is quick; its public names are imported on first use."""
    code = "import sys, iptdata; print(sorted(name for name in sys.modules if name.startswith('iptdata.') or name == 'numpy'))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "['iptdata.lazy']"


def test_every_module_has_its_place() -> None:
    assert {stage(path) for path in FILES} - {"__init__"} <= set(LEVELS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 320
