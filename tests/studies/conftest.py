"""A study that takes a moment: a pre-training, three cells, a benchmark of two images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import natural_image, save

SMALL = """
study: small
question: Is it worth it?
x: network
train: {model: ipt-tiny, network: {n_feats: 4, num_heads: 2, num_layers: 1}, batch_size: 4, steps: 3}
finetune: {lr: 1.0e-3, steps: 2}
pretrain:
  both: {tasks: [noise30, rain]}
measure: {noise30: [Kodak]}
cells:
  - {x: as it is, from: both, head: rain}
  - {x: fine-tuned, from: both, train: {tasks: [noise30]}}
  - {x: from scratch, train: {tasks: [noise30]}}
"""


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    for number in range(2):
        save(tmp_path / "benchmarks" / "Kodak" / f"{number}.png", natural_image(30, 40, number))
    return tmp_path / "benchmarks"


Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the small study, with changes, to a file."""

    def write(**changes: Any) -> Path:
        content = yaml.safe_load(SMALL) | changes
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write
