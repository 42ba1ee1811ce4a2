"""The public names of the package and of its parts: what users may rely on."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import iptdata

PACKAGE = Path(iptdata.__file__).parent
FRONT = [
    *("BuildResult", "Corpus", "DeviceStream", "IptDataError", "PairStream", "Recipe", "Restorer", "RunResult", "Score"),
    *("__version__", "build", "evaluate", "load_recipes", "restore", "train"),
]
PACKAGES = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "cli")
# Imported by scripts outside this repository.
KEPT = {
    "iptdata.errors": ["IptDataError"],
    "iptdata.image.decode": ["decode", "Unusable"],
    "iptdata.model.checkpoint": ["Checkpoint", "save_checkpoint"],
    "iptdata.model.presets": ["make_model", "preset"],
    "iptdata.parallel": ["cpus"],
    "iptdata.stream": ["PairStream", "DeviceStream"],
    "iptdata.degradations.bicubic": ["imresize"],
    "iptdata.training.contrastive": ["contrastive_loss"],
    "iptdata.training": ["compiled", "learner", "ranks", "speed"],
}


def test_front_door() -> None:
    assert sorted(iptdata.__all__) == FRONT
    for name in FRONT:
        assert getattr(iptdata, name) is not None
        assert name in dir(iptdata)
    with pytest.raises(AttributeError, match="has no attribute 'bulid'"):
        iptdata.bulid  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_what_is_imported_stays_light() -> None:
    """Neither `import iptdata` nor a build imports torch or webdataset; options of training are read without them."""
    for code in (
        "import iptdata; iptdata.build",
        "import iptdata.training.options, iptdata.evaluation.options, iptdata.restoration.options, iptdata.studies.options",
        "import iptdata; iptdata.Corpus, iptdata.load_recipes",
    ):
        shown = f"import sys; {code}; print([name for name in ('torch', 'webdataset', 'ray') if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", shown], check=True, capture_output=True, text=True)
        assert found.stdout.strip() == "[]", code


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_lists_its_names(name: str) -> None:
    """A change of public names is a change of tests/public_names.txt, and belongs into the changelog."""
    module = importlib.import_module(f"iptdata.{name}")
    listed = dict(line.split(": ") for line in (Path(__file__).parent / "public_names.txt").read_text().splitlines())
    assert " ".join(sorted(module.__all__)) == listed[name]
    assert all(getattr(module, public) is not None for public in module.__all__)


@pytest.mark.parametrize("module", KEPT)
def test_names_that_scripts_import(module: str) -> None:
    for name in KEPT[module]:
        try:
            importlib.import_module(f"{module}.{name}")
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_no_module_is_called_like_one_of_the_standard_library() -> None:
    assert not {path.parent.name for path in PACKAGE.glob("*/__init__.py")} & set(sys.stdlib_module_names)


def strings_in_errors(path: Path) -> list[str]:
    """Text of the messages of errors that a module makes, without what is computed."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if called.endswith(("Error", "Failed", "Finished", "Full")) or isinstance(node, ast.Raise):
            found += [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_errors_name_arguments_not_flags(path: Path) -> None:
    """The command line writes `batch_size` as --batch-size; a command to paste, in backticks, has flags of its own."""
    for text in strings_in_errors(path):
        if not (text.startswith("`iptdata ") or "`iptdata " in text):
            assert "--" not in text, f"{path}: {text}"
