"""The released layout is read strictly; no code in a file is run; mismatches are listed."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.errors import ModelError
from iptdata.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from iptdata.model.ipt import IPT
from iptdata.model.presets import PRETRAINED
from iptdata.model.released import PRETRAINED_TASKS, load_released
from iptdata.recipe import Suite, load
from tests.model.test_ipt import PAPER, TINY


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return IPT(TINY).state_dict()


def saved(state: object, folder: Path) -> str:
    torch.save(state, folder / "model.pt")
    return str(folder / "model.pt")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"no_norm": True},
        {"no_mlp": True},
        {"n_feats": 16, "patch_dim": 4, "num_heads": 8},
        {"num_layers": 3},
        {"patch_size": 24},
        {"no_pos": True},
        {"no_pos": True, "patch_size": 24},
        {"no_pos": True, "patch_size": 96, "patch_dim": 6, "n_feats": 2},
        {"no_pos": True, "patch_size": 36, "n_feats": 16, "patch_dim": 4, "num_heads": 8},
        {"no_pos": True, "patch_size": 24, "tasks": ("rain",), "scales": (1,)},
        {"no_mlp": True, "patch_size": 24},
        {"no_mlp": True, "no_pos": True},
    ],
    ids=str,
)
def test_network_is_inferred_from_the_shapes(change: dict, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, **change)
    model = IPT(config)
    found = load_released(saved(model.state_dict(), tmp_path), config.tasks, num_heads=config.num_heads)
    assert found.config == config
    assert all(tensor.equal(model.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_heads_are_those_of_the_suite(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    suite = load("ipt")
    assert isinstance(suite, Suite)
    assert list(PRETRAINED) == [recipe.task for recipe in suite.recipes]
    config = load_released(saved(state, tmp_path), num_heads=6).config
    assert (config.tasks, config.scales) == (PRETRAINED_TASKS, tuple(recipe.scale for recipe in suite.recipes))
    assert PAPER.tasks == PRETRAINED_TASKS == tuple(PRETRAINED)


@pytest.mark.parametrize(
    ("tasks", "training", "warned"),
    [
        (("sr2", "sr3", "sr4", "noise30", "noise50", "rain"), None, True),
        (("sr2", "sr3", "sr4", "noise30", "noise50", "rain"), {"step": 3}, False),
        (PRETRAINED_TASKS, None, False),
        (("sr2", "sr3", "sr4", "noise50", "noise30", "rain"), None, False),
    ],
)
def test_names_of_an_earlier_import(
    tasks: tuple[str, ...], training: dict | None, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Heads of networks that users trained in the same order keep their names, so nothing is renamed."""
    config = dataclasses.replace(TINY, tasks=tasks)
    path = str(tmp_path / "a.pt")
    save_checkpoint(path, Checkpoint(config=config, weights=IPT(config).state_dict(), training=training))
    assert load_checkpoint(path).config.tasks == tasks
    wanted = (
        f"{path} names heads 3 to 5 noise30, noise50, rain: if it was imported from the authors' checkpoint, they are "
        "rain, noise30, noise50, so import it again"
    )
    assert caplog.messages == ([wanted] if warned else [])


def test_fine_tuned_file_has_one_head(tmp_path: Path) -> None:
    model = IPT(dataclasses.replace(TINY, tasks=("rain",), scales=(1,)))
    path = saved(model.state_dict(), tmp_path)
    assert load_released(path, num_heads=6).config.tasks == ("head0x1",)
    assert load_released(path, ["rain"], num_heads=6).config == model.config


def test_reference_file(shared: Path) -> None:
    config = load_released(str(shared / "golden" / "official_tiny.pt"), num_heads=6).config
    assert config == dataclasses.replace(TINY, tasks=PRETRAINED_TASKS)


def test_mismatches_are_listed(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del state["body.mlp_head.0.bias"]
    state["body.extra"] = torch.zeros(1)
    state["tail.2.1.weight"] = torch.zeros(3, 8, 5, 5)
    with pytest.raises(ModelError) as error:
        load_released(saved(state, tmp_path), num_heads=6)
    for text in (
        "mlp_head.0.bias is missing",
        "extra is not part of the network",
        "tail.2.1.weight is (3, 8, 5, 5), expected (3, 8, 3, 3)",
    ):
        assert text in str(error.value)


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPED = {
    "DistributedDataParallel": lambda state: prefixed(state, "module."),
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "epoch": 3, "optimizer_states": [{"state": {}}]},
    "both": lambda state: prefixed(state, "module._orig_mod."),
    "both, in a module": lambda state: prefixed(state, "net._orig_mod.module."),
    "only the body is compiled": lambda state: {name.replace("body.", "body._orig_mod."): t for name, t in state.items()},
    "only the encoder is compiled": lambda state: {
        name.replace("encoder.", "encoder._orig_mod."): t for name, t in state.items()
    },
    "BasicSR": lambda state: {"params": state},
    "BasicSR with a mean": lambda state: {"params": prefixed(state, "other."), "params_ema": state},
    "timm": lambda state: {"state_dict": {}, "state_dict_ema": prefixed(state, "module."), "arch": "ipt", "epoch": 1},
    "model": lambda state: {"model": state, "iter": 7},
    "net": lambda state: {"net": state},
    "generator": lambda state: {"generator": state, "discriminator": {"head.0.0.weight": torch.ones(1)}},
    "nested": lambda state: {"model": {"state_dict": prefixed(state, "module.")}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_containers_and_prefixes_are_removed(name: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    notes: list[str] = []
    found = load_released(saved(WRAPPED[name](state), tmp_path), num_heads=6, on_note=notes.append)
    assert all(tensor.equal(state[name]) for name, tensor in found.state_dict().items())
    assert 1 <= len(notes) <= 2
    assert all(note.isprintable() for note in notes)


def test_nothing_is_removed_from_a_released_file(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    notes: list[str] = []
    load_released(saved(state, tmp_path), num_heads=6, on_note=notes.append)
    assert not notes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "net": state},
        lambda state: {"params_ema": state, "model_ema": state},
        lambda state: {"model": {"model": {"model": {"model": {"model": state}}}}},
        lambda state: {"weights": state},
        lambda state: {"state_dict": {}},
        lambda state: {"model": state | {"step": 3}},
        lambda state: [state],
    ],
)
def test_what_is_ambiguous_is_refused(wrap: Any, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a state dict: found .*, expected tensors by name"):
        load_released(saved(wrap(state), tmp_path), num_heads=6)


def test_names_that_are_the_same_without_prefixes(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has several tensors of one name"):
        load_released(saved(state | prefixed(state, "module."), tmp_path), num_heads=6)
    with pytest.raises(ModelError, match=r"found no 'head\.0\.0\.weight'"):
        load_released(saved(prefixed(state, "model.") | {"loss.weight": torch.ones(1)}, tmp_path), num_heads=6)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("head.0.0.weight", torch.zeros(0, 3, 3, 3)),
        ("head.0.0.weight", torch.zeros(())),
        ("head.0.0.weight", torch.zeros(3000, 3, 1, 1)),
        ("head.99999.0.weight", torch.zeros(1)),
        ("head.%s.0.weight" % ("9" * 150), torch.zeros(1)),
        ("body.encoder.layers.0.self_attn.out_proj.weight", torch.zeros(())),
        ("body.position_encoding.pe.weight", torch.zeros(())),
        ("body.position_encoding.pe.weight", torch.zeros(10_000_000, 0)),
        ("tail.0.0.0.weight", torch.zeros(())),
        ("tail.0.0.0.weight", torch.zeros(10_000, 0)),
        ("head.0.0.weight", torch.full((8, 3, 3, 3), float("nan"))),
    ],
)
def test_odd_shapes(name: str, tensor: torch.Tensor, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        load_released(saved(state | {name: tensor}, tmp_path), num_heads=6)
    assert str(raised.value).isprintable()


class Trap:
    """Content of a malicious file: loading it would call a function."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("touched"),)


def test_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"model\.pt is refused: it holds more than tensors, and reading it could run code"):
        load_released(saved({"head.0.0.weight": Trap()}, tmp_path))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a readable checkpoint"),
        (b"PK\x03\x04 no zip", "is not a readable checkpoint"),
        (None, "does not exist"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_released(str(tmp_path / "model.pt"))


def test_files_that_are_not_an_ipt(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a state dict"):
        load_released(saved({"step": 3}, tmp_path))
    with pytest.raises(ModelError, match=r"not an IPT state dict: found no 'head\.0\.0\.weight'"):
        load_released(saved({"weight": torch.zeros(1)}, tmp_path))
    with pytest.raises(ModelError, match=r"tasks: found 2 names \(a, b\), expected 6, for heads of scale \(2, 3, 4, 1, 1, 1\)"):
        load_released(saved(state, tmp_path), ["a", "b"], num_heads=6)


def test_a_checkpoint_of_iptdata_is_named(tmp_path: Path) -> None:
    torch.save({"format": "iptdata checkpoint", "model": {"kind": "ipt"}}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"a\.pt is already a checkpoint of iptdata\. Use it as it is"):
        load_released(str(tmp_path / "a.pt"))
