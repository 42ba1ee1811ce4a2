"""Each command has consoles of its own width, and so has each test."""

from collections.abc import Iterator

import pytest

from iptdata.cli.console import console


@pytest.fixture(autouse=True)
def new_console() -> Iterator[None]:
    """Forget the console after a test, which keeps the width that the terminal had when it was made."""
    yield
    console.cache_clear()
