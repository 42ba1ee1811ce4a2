"""Options of quick runs on the `training_corpus`."""

from pathlib import Path
from typing import Any

import pytest

SIZE, PAIRS = 24, 56
TINY: dict[str, Any] = {"model": "ipt-tiny", "network": {"n_feats": 8, "num_heads": 2, "num_layers": 1}}
TASKS = ("noise30", "rain", "sr2")


@pytest.fixture
def options(training_corpus: Path) -> dict[str, Any]:
    """A run of a few steps."""
    return {"shards": [str(training_corpus)], "batch_size": 4, "steps": 6, "device": "cpu", **TINY}
