"""The packages: one PIL, recipes and types in wheel and sdist, and what the type checker of a user sees."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def requirements(name: str) -> set[str]:
    """Names of what a distribution requires here, its extras left out."""
    names = set()
    for text in distribution(name).requires or []:
        requirement, _, marker = text.partition(";")
        foreign = "platform_machine !=" in marker and "x86_64" in marker
        if "extra ==" not in marker and not foreign:
            names.add(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-"))
    return names


def test_nothing_that_we_depend_on_pulls_in_pillow() -> None:
    """pillow and pillow-simd both install PIL and break each other."""
    installed = {dist.metadata["Name"].lower().replace("_", "-") for dist in distributions()}
    waiting, seen = {"iptdata"}, set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for required in requirements(name):
            assert required != "pillow", f"{name} requires pillow"
            waiting |= {required} & installed - seen
    assert {"pillow-simd", "torch", "ray"} <= seen
    assert "pillow" not in installed


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this tree."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_wheel_and_sdist_are_complete(packages: Path) -> None:
    recipes = {str(path.relative_to(ROOT / "recipes")) for path in (ROOT / "recipes").rglob("*.yaml")}
    assert "studies/fraction.yaml" in recipes
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"iptdata/recipes/{name}" for name in recipes} <= names
    assert {"iptdata/source/samples/SOURCES.md", "iptdata/evaluation/published.yaml", "iptdata/py.typed"} <= names
    with tarfile.open(next(packages.glob("*.tar.gz"))) as sdist:
        members = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"recipes/{name}" for name in recipes} <= members
    assert {"iptdata/source/samples/chelsea.jpg", "iptdata/py.typed", "CITATION.cff"} <= members


def test_types_of_the_installed_wheel(packages: Path, tmp_path: Path) -> None:
    """A type checker that finds iptdata in site-packages knows at least 95 % of its public names."""
    site = tmp_path / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", site]
    subprocess.run([*install, next(packages.glob("*.whl"))], check=True)
    command = [sys.executable, "-m", "pyright", "--verifytypes", "iptdata", "--ignoreexternal", "--outputjson"]
    # --verifytypes ignores --pythonpath: it asks the `python` of PATH where packages are.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(site), "PATH": path}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    completeness = json.loads(shown.stdout)["typeCompleteness"]
    assert Path(completeness["pyTypedPath"]).resolve() == (site / "iptdata" / "py.typed").resolve()
    incomplete = [symbol["name"] for symbol in completeness["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert completeness["completenessScore"] >= 0.95, incomplete


def test_samples_are_six_and_licensed() -> None:
    folder = ROOT / "iptdata" / "source" / "samples"
    licences = (folder / "SOURCES.md").read_text()
    photos = sorted(path.name for path in folder.glob("*.jpg"))
    assert len(photos) == 6
    assert all(name in licences for name in photos)
