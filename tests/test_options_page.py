"""docs/options.md is what the declarations in the code say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_up_to_date() -> None:
    path = ROOT / "scripts" / "docs_options.py"
    spec = importlib.util.spec_from_file_location("docs_options", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run `make docs-options`"
