"""Networks that return the image unchanged, and a folder for a test's photos."""

from pathlib import Path

import pytest

from tests.networks import edsr_file, ipt_file  # noqa: F401


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"
