"""Conflicting options, shards, checkpoints and machines: one clear line for each."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.errors import ModelError, ShardError, StorageError, StreamError, TrainError, TrainFailed
from iptdata.files.storage import Storage
from iptdata.training.config import resolve
from iptdata.training.loop import training_errors
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import Ranks
from iptdata.training.run import run_training
from iptdata.training.setup import set_up_run
from tests.training.watch import Watch, trained

Options = dict[str, Any]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shards": []}, TrainError, "shards: missing, expected corpora"),
        ({"shards": ["nowhere"]}, ShardError, "nowhere does not exist"),
        ({"tasks": ["sr3"]}, ShardError, "task sr3 is not in the shards, found sr2"),
        ({"batch_size": 57}, StreamError, "batch_size: found 57, expected at most 56, the pairs of task noise30"),
        ({"device": "cuda"}, TrainError, "device: found cuda, but .* Leave out device to train on the CPU"),
        ({"model": "ipt-huge"}, ModelError, "found no model 'ipt-huge', expected one of ipt-base"),
        ({"network": {"n_feat": 8}}, ModelError, "ipt-tiny has no field 'n_feat', expected one of n_feats"),
        ({"network": {"n_feats": "8"}}, ModelError, "ipt-tiny.n_feats: found '8', expected a whole number from 1 up"),
        ({"network": {"num_heads": 5}}, ModelError, "ipt-tiny.num_heads: found 5, expected a divisor of the token width"),
        ({"network": {"patch_size": 9}}, ModelError, "ipt-tiny has no field 'patch_size'"),
        ({"network": {"name": 9}}, ModelError, "ipt-tiny has no field 'name'"),
        (
            {"batch_size": 1},
            ModelError,
            "found 1 image in a batch or a part of it.* smaller accumulate or contrastive_form=supcon",
        ),
        (
            {"batch_size": 4, "accumulate": 4},
            ModelError,
            "found 1 image in a batch or a part of it.* smaller accumulate or contrastive_form=supcon",
        ),
        (
            {"accumulate": 5},
            TrainError,
            "batch_size: found 4, expected at least one pair for each of 1 ranks in each of 5 parts",
        ),
        ({"validate": True, "split": "test"}, ShardError, "has no shards of the split test; splits in it: train, val"),
        ({"checkpoint": "none.pt", "model": None, "network": {}}, ModelError, "none.pt does not exist"),
        (
            {"checkpoint": "/tmp", "model": None, "network": {}},
            ModelError,
            "/tmp is a folder without a checkpoint of a training run, neither best.pt nor .* Pass a checkpoint, or the folder",
        ),
    ],
)
def test_mistakes(tmp_path: Path, options: Options, changes: Options, error: type[Exception], message: str) -> None:
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(error, match=message):
        trained(tmp_path / "run", options | changes)
    assert not (tmp_path / "run").exists()


def test_another_network_or_other_shards_are_refused(tmp_path: Path, options: Options, training_corpus: Path) -> None:
    trained(tmp_path / "run", options)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ModelError, match=r"another network \(num_layers: found 1, expected 2\). Resume with the options"):
        trained(tmp_path / "run", options | {"network": {"num_layers": 2}, "steps": 8})
    with pytest.raises(ModelError, match=r"tasks: found \('noise30', 'rain', 'sr2'\), expected \('rain',\)"):
        trained(tmp_path / "run", {"tasks": ["rain"], "steps": 8})
    with pytest.raises(StreamError, match="batch_size: 4 in the state, 5 here"):
        trained(tmp_path / "run", {"batch_size": 5, "steps": 8})
    with pytest.raises(TrainError, match="out: found the URL s3://bucket/run, expected a local folder"):
        run_training([options], "s3://bucket/run", Watch())
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_a_locked_run_is_refused(tmp_path: Path, options: Options) -> None:
    (tmp_path / "run").mkdir()
    with Storage(str(tmp_path / "run")).locked(), pytest.raises(StorageError, match="another process is writing to"):
        trained(tmp_path / "run", options)


def test_training_pairs_are_not_held_out(tmp_path: Path, options: Options, training_corpus: Path) -> None:
    shards = str(training_corpus / "rain" / "train")
    with pytest.raises(TrainError, match=r"validate: the split val of .* is also trained on. Pass the corpus"):
        trained(tmp_path / "run", options | {"shards": [shards], "validate": True})


def test_ranks_with_other_shards_are_refused(options: Options) -> None:
    class Other(Ranks):
        def agreed(self, value: Any) -> Any:
            return value | {"data": "0123456789abcdef"}

    with pytest.raises(StreamError, match="data: '0123456789abcdef' in the state"):
        set_up_run(resolve(options), Other(), None)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ["checkpoint_activations", "accumulate", "contrastive_tokens", "batch_size"]),
        ({"checkpoint_activations": True}, ["accumulate", "contrastive_tokens", "batch_size"]),
        ({"contrastive": 0.0}, ["checkpoint_activations", "accumulate", "batch_size"]),
        ({"checkpoint_activations": True, "contrastive": 0.0}, ["accumulate", "batch_size"]),
    ],
)
def test_what_to_do_when_memory_is_full(changes: Options, wanted: list[str]) -> None:
    """First what changes the training least; nothing that is done already."""
    with pytest.raises(TrainFailed, match="CUDA out of memory") as found, training_errors(Ranks(), TrainOptions(**changes)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert re.findall(r"`(\w+)(?:=\w+)?`", found.value.hint or "") == wanted
