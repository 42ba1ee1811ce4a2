"""What is installed: one PIL, our recipes in every kind of package."""

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
    assert {"pillow-simd", "torch", "ray", "webdataset"} <= seen
    assert "pillow" not in installed


def test_recipes_and_samples_are_in_wheel_and_sdist(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    recipes = {str(path.relative_to(ROOT / "recipes")) for path in (ROOT / "recipes").rglob("*.yaml")}
    assert "studies/fraction.yaml" in recipes
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"iptdata/recipes/{name}" for name in recipes} <= names
    assert "iptdata/source/samples/SOURCES.md" in names
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        members = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"recipes/{name}" for name in recipes} <= members
    assert "iptdata/source/samples/chelsea.jpg" in members


def test_samples_are_six_and_licensed() -> None:
    folder = ROOT / "iptdata" / "source" / "samples"
    licences = (folder / "SOURCES.md").read_text()
    photos = sorted(path.name for path in folder.glob("*.jpg"))
    assert len(photos) == 6
    assert all(name in licences for name in photos)
