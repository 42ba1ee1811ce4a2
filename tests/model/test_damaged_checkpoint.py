"""Checkpoints that are damaged, odd or hostile: a ModelError of one line, before memory or time is spent."""

import io
import os
import pickle
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.errors import CheckpointDamaged, ModelError
from iptdata.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from iptdata.model.presets import make_model, preset
from iptdata.model.released import load_released
from iptdata.restoration import Restorer

Content = dict[str, Any]


def tiny() -> Checkpoint:
    torch.manual_seed(0)
    config = preset("edsr-tiny", {"sr2": 2, "rain": 1}, n_feats=4, n_blocks=1)
    return Checkpoint(
        config=config, weights=make_model(config).state_dict(), training={"step": 7, "rng": torch.get_rng_state()}
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    save_checkpoint(str(tmp_path / "a.pt"), tiny())
    return str(tmp_path / "a.pt")


@pytest.fixture
def content(path: str) -> Content:
    return torch.load(path, weights_only=True)


def refused(path: str, error: type[ModelError] = ModelError) -> str:
    """The message of an error of exactly this type."""
    with pytest.raises(ModelError) as raised:
        load_checkpoint(path).model()
    assert type(raised.value) is error, raised.value
    message = str(raised.value)
    assert message.isprintable()
    assert len(message.replace(os.path.dirname(path), "")) < 900
    return message


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


FIELDS: dict[str, tuple[Callable[[Content], object], str]] = {
    "no version": (lambda c: c.pop("version"), "found version None of the format, expected 1"),
    "a version that is true": (lambda c: c.update(version=True), "found version True"),
    "a version that is a tensor": (lambda c: c.update(version=torch.ones(3)), "found version tensor"),
    "a format that is a tensor": (lambda c: c.update(format=torch.ones(3)), "is not an iptdata checkpoint"),
    "no model": (lambda c: c.pop("model"), "model: found None, expected the configuration"),
    "a model that is a list": (lambda c: c.update(model=[1]), r"model: found \[1\]"),
    "no kind": (lambda c: c["model"].pop("kind"), "found a network of kind None"),
    "a kind that is a list": (lambda c: c["model"].update(kind=["edsr"]), r"found a network of kind \['edsr'\]"),
    "a field that is no name": (lambda c: c["model"].update({3: 1}), "model: 3: unknown key"),
    "no tasks": (lambda c: c["model"].pop("tasks"), "a configuration that this release does not support"),
    "tasks that are numbers": (lambda c: c["model"].update(tasks=(1, 2)), "tasks: found"),
    "a task that moves the cursor": (lambda c: c["model"].update(tasks=("sr2", "\x1b[2J")), "tasks: found"),
    "a task of a megabyte": (lambda c: c["model"].update(tasks=("sr2", "x" * 10**6)), "tasks: found 'xxx"),
    "many tasks": (
        lambda c: c["model"].update(tasks=tuple(map(str, range(10**5))), scales=(1,) * 10**5),
        "tasks: found .* at most 100",
    ),
    "scales that are a number": (lambda c: c["model"].update(scales=2), "scales: found 2"),
    "scales that are floats": (lambda c: c["model"].update(scales=(2.0, 1.0)), r"scales: found 2\.0"),
    "scales that are true": (lambda c: c["model"].update(scales=(2, True)), "scales: found True"),
    "scales that are lists": (lambda c: c["model"].update(scales=([2], [1])), r"scales: found \[2\]"),
    "many blocks": (lambda c: c["model"].update(n_blocks=10**8), "n_blocks: found 100000000, expected at most 2,048"),
    "more blocks than the file has": (lambda c: c["model"].update(n_blocks=20), r"body\.1.*is missing.*and \d+ more"),
    "many more blocks": (lambda c: c["model"].update(n_blocks=2000), "found 36 tensors, too few for 2,000 blocks"),
    "many features": (lambda c: c["model"].update(n_feats=10**30), "n_feats: found 1000"),
    "features that differ": (lambda c: c["model"].update(n_feats=2048), r"expected \(2048, "),
    "negative features": (lambda c: c["model"].update(n_feats=-1), "n_feats: found -1"),
    "features that are true": (lambda c: c["model"].update(n_feats=True), "n_feats: found True"),
    "features that are text": (lambda c: c["model"].update(n_feats="4"), "n_feats: found '4'"),
    "features that are a tensor": (lambda c: c["model"].update(n_feats=torch.tensor(4)), "n_feats: found tensor"),
    "a factor that is not a number": (lambda c: c["model"].update(res_scale=float("nan")), "res_scale: found nan"),
    "no weights": (lambda c: c.pop("weights"), "weights: found None, expected tensors by name"),
    "weights in a list": (lambda c: c.update(weights=[torch.ones(1)]), r"weights: found \[tensor"),
    "a weight that is a number": (lambda c: c["weights"].update({"add_mean.bias": 3}), "weights: found {"),
    "a weight by number": (lambda c: c["weights"].update({3: torch.ones(1)}), "weights: found {"),
    "a package that is a list": (lambda c: c.update(package=["1"]), r"package: found \['1'\]"),
    "a long package": (lambda c: c.update(package="1" * 10**6), "package: found '111"),
    "training that is a list": (lambda c: c.update(training=[1]), r"training: found \[1\]"),
    "no step": (lambda c: c["training"].pop("step"), "training.step: found None"),
    "a step that is text": (lambda c: c["training"].update(step="7"), "training.step: found '7'"),
    "a huge step": (lambda c: c["training"].update(step=10**30), "training.step: found 1000"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(path: str, content: Content, name: str) -> None:
    change, message = FIELDS[name]
    change(content)
    torch.save(content, path)
    found = refused(path)
    assert re.search(message, found), found


def expanded(*shape: int) -> torch.Tensor:
    return torch.ones(1).expand(*shape)


TENSORS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "complex": (lambda t: t.to(torch.complex64), "is a tensor of complex64"),
    "quantised": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is a tensor of qint8"),
    "sparse": (lambda t: t.to_sparse(), "is a tensor of float32, sparse_coo"),
    "meta": (lambda t: t.to("meta"), "is a tensor of float32, strided, meta"),
    "bytes": (lambda t: t.to(torch.uint8), "is a tensor of uint8"),
    "integers": (lambda t: t.to(torch.int64), "is torch.int64, expected torch.float32"),
    "another shape": (lambda t: t[:2], r"is \(2,\), expected \(3,\)"),
    "no dimension": (lambda t: t[0], r"is \(\), expected \(3,\)"),
    "a million million values": (lambda t: expanded(10**6, 10**6), "found tensors of 4,000,000,"),
    "not a number": (lambda t: t * float("nan"), "has values that are not finite"),
    "infinite": (lambda t: torch.tensor([1, 2, float("inf")]), "has values that are not finite"),
    "infinite in float32": (lambda t: torch.tensor([1, 2, 1e300], dtype=torch.float64), "has values that are not finite"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(path: str, content: Content, name: str) -> None:
    change, message = TENSORS[name]
    content["weights"]["add_mean.bias"] = change(content["weights"]["add_mean.bias"].detach())
    torch.save(content, path)
    found = refused(path)
    assert "add_mean.bias" in found or "a million" in name
    assert re.search(message, found), found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted(path: str, content: Content, dtype: torch.dtype) -> None:
    content["weights"] = {name: tensor.to(dtype) for name, tensor in content["weights"].items()}
    torch.save(content, path)
    model = load_checkpoint(path).model()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 8, 8), 0)[0].dtype == torch.float32


def test_positions_that_point_elsewhere(path: str) -> None:
    config = preset("ipt-tiny", {"rain": 1}, n_feats=4, num_heads=2, num_layers=1)
    weights = make_model(config).state_dict()
    weights["body.position_encoding.position_ids"] = weights["body.position_encoding.position_ids"] + 10**9
    save_checkpoint(path, Checkpoint(config=config, weights=weights))
    assert "position_ids is not 0, 1, 2" in refused(path)


def test_the_width_of_tokens_is_bounded(path: str) -> None:
    config = preset("ipt-tiny", {"rain": 1}, n_feats=4, num_heads=2, num_layers=1)
    save_checkpoint(path, Checkpoint(config=config, weights=make_model(config).state_dict()))
    content = torch.load(path, weights_only=True)
    content["model"] |= {"n_feats": 2048, "patch_dim": 2048, "patch_size": 2048}
    torch.save(content, path)
    assert "patch_dim: found 2048, expected a token width" in refused(path)


def test_weights_that_are_not_finite_are_not_used(path: str, content: Content) -> None:
    content["weights"]["body.0.body.0.weight"][0, 0] = float("nan")
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"body\.0\.body\.0\.weight has values that are not finite"):
        Restorer(path, "rain", device="cpu")


def rewritten(path: str, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    """Write the entries of a checkpoint again, changed, with right checksums."""
    data = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w", compression) as new:
        for entry in old.infolist():
            if (content := change(entry.filename, old.read(entry))) is not None:
                new.writestr(entry.filename, content)
    Path(path).write_bytes(data.getvalue())


def test_deep_lists(path: str, content: Content) -> None:
    """The pickle is changed, since Python cannot write so deep a list."""
    torch.save(content | {"training": "DEEP"}, path)
    lists = b"]" * 100_000 + b"a" * 99_999
    rewritten(path, lambda name, data: data.replace(b"X\x04\x00\x00\x00DEEP", lists) if name.endswith("pkl") else data)
    assert "training: found [[[" in refused(path)


def test_a_bit_is_flipped_anywhere(path: str) -> None:
    """In the pixels of a tensor too, which PyTorch does not notice."""
    data = Path(path).read_bytes()
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    start = data.index(entry.filename.encode()) + len(entry.filename) + 100
    for offset in (start, start + entry.file_size // 2):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        Path(path).write_bytes(damaged)
        assert torch.load(path, weights_only=True)
        assert "Bad CRC-32" in refused(path, CheckpointDamaged)


def test_a_file_without_checksums(path: str, content: Content) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_checkpoint(path).model()


def test_odd_archives(path: str) -> None:
    original = Path(path).read_bytes()
    cases: dict[str, Callable[[], object]] = {
        "compressed entries": lambda: rewritten(path, lambda name, data: data, zipfile.ZIP_DEFLATED),
        "archive": lambda: rewritten(path, lambda name, data: None if name.endswith("data.pkl") else data),
        "readable": lambda: rewritten(path, lambda name, data: data[:-1] if "/data/" in name else data),
        " readable": lambda: rewritten(path, lambda name, data: data[:-9] if name.endswith("data.pkl") else data),
        "  readable": lambda: Path(path).write_bytes(original[:-1000]),
        "   readable": lambda: Path(path).write_bytes(original[: len(original) // 2]),
        "    readable": lambda: Path(path).write_bytes(b"\0" * len(original)),
        "     readable": lambda: Path(path).write_bytes(b"\0\0\0\0" + original[4:]),
        "      readable": lambda: Path(path).write_bytes(b""),
        "       readable": lambda: Path(path).write_bytes(b"hello"),
        "        readable": lambda: Path(path).write_bytes(pickle.dumps({"format": "iptdata checkpoint"})),
        "safetensors": lambda: Path(path).write_bytes((2**60).to_bytes(8, "little") + b'{"a":{}}'),
    }
    for message, write in cases.items():
        Path(path).write_bytes(original)
        write()
        assert message.strip() in refused(path, CheckpointDamaged)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    (tmp_path / "folder.pt").mkdir()
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "script.pt"))
    for name, message, error in (
        ("fifo.pt", "not a regular file", CheckpointDamaged),
        ("zero.pt", "not a regular file", CheckpointDamaged),
        ("folder.pt", "is a folder", ModelError),
        ("none.pt", "does not exist", ModelError),
        ("script.pt", "readable checkpoint", CheckpointDamaged),
        ("a\0.pt", "not a path", CheckpointDamaged),
    ):
        with pytest.raises(error, match=message):
            load_checkpoint(str(tmp_path / name))


@pytest.mark.parametrize("data", [bytes(8), b"\2" + bytes(7) + b"\xff\xfe", b"\3" + bytes(7) + b"[[[", b"", b"hello"])
def test_a_damaged_file_named_as_safetensors_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    for read in (load_checkpoint, load_released):
        with pytest.raises(CheckpointDamaged, match="is not a readable checkpoint"):
            read(str(tmp_path / "x.safetensors"))


def test_the_extension_of_a_checkpoint_does_not_matter(path: str) -> None:
    renamed = path.removesuffix(".pt") + ".safetensors"
    os.rename(path, renamed)
    assert load_checkpoint(renamed).model()


def message_or_weights(path: str, wanted: Checkpoint) -> str:
    """The message of an error; "" where the weights are those that were written."""
    try:
        found = load_checkpoint(path)
        found.model()
    except ModelError as error:
        return str(error)
    assert all(tensor.equal(wanted.weights[name]) for name, tensor in found.weights.items())
    return ""


def mutations(path: str, count: int) -> None:
    """Flip bits, cut, and change fields of a checkpoint; each is refused or loads the same weights."""
    bits = random.Random(2)
    original, wanted = Path(path).read_bytes(), load_checkpoint(path)
    odd = (None, True, -1, 10**30, 1.5, float("nan"), "x", "x" * 10**5, [], {}, torch.ones(2), torch.ones(0), deep(50), b"")
    refused = 0
    for index in range(count):
        data = bytearray(original)
        if index % 3 == 0:
            for _ in range(bits.choice((1, 1, 8, 100))):
                data[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
        elif index % 3 == 1:
            start = bits.randrange(len(data))
            del data[start : start + bits.choice((1, 10, 1000, len(data)))]
        Path(path).write_bytes(data)
        if index % 3 == 2:
            content = torch.load(io.BytesIO(original), weights_only=True)
            part = bits.choice((content, content["model"], content["weights"], content["training"]))
            part[bits.choice(list(part))] = bits.choice(odd)
            torch.save(content, path)
        message = message_or_weights(path, wanted)
        assert message.isprintable()
        assert len(message) < 2000
        refused += message != ""
    assert refused > count // 2


def test_mutations(path: str) -> None:
    mutations(path, 300)


@pytest.mark.long
def test_many_mutations(path: str) -> None:
    mutations(path, 3000)
