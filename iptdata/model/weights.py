"""Weights in files and in networks: no code in a file is run, damage is detected, and mismatches are listed."""

import math
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from iptdata.errors import CheckpointDamaged, ModelError, one_line, printable, shown
from iptdata.regular_file import regular_size

_ZIP = b"PK\x03\x04"
_MAX_ENTRIES = 100_000
_CHUNK = 1 << 20
_MAX_LISTED = 12
_MAX_FEW_BLOCKS = 100
_MAX_NAME = 200
_MAX_REPEATS = 4  # a file holds a tensor once that has several names
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# What zipfile and torch.load raise for damaged files, besides pickle.UnpicklingError.
_UNREADABLE = (
    *(OSError, RuntimeError, EOFError, ValueError, AttributeError, LookupError, TypeError, ArithmeticError, AssertionError),
    *(MemoryError, ImportError, struct.error, zipfile.BadZipFile),
)
_Config = TypeVar("_Config")
_Network = TypeVar("_Network", bound=nn.Module)


def read_content(path: str) -> Any:
    """Load a file that `torch.save` wrote: tensors, numbers, text and containers of these; no code in it is run.

    The checksums of the file are verified, which PyTorch does not do.

    Raises:
        CheckpointDamaged: When its content is damaged, or is not that of a file that `torch.save` wrote.
        ModelError: When there is no such file, it may not be read, or would run code.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of PyTorch about its own deprecations
            _verify(path)
            with open(path, "rb") as file:  # of a path, PyTorch reads one with another extension by another library
                return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path} is a folder, expected a file") from error
    except PermissionError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        if not re.search("global|class|function|instance", str(error), re.IGNORECASE):
            raise CheckpointDamaged(f"{path} is not a readable checkpoint") from error
        raise ModelError(f"{path} is refused: it holds more than tensors, and reading it could run code") from error
    except _UNREADABLE as error:
        reason = isinstance(error, OSError) and error.strerror
        if isinstance(error, LookupError):  # its text is the key alone
            reason = "it was not written by torch.save"
        raise CheckpointDamaged(f"{path} is not a readable checkpoint: {reason or one_line(error, 120)}") from error


def _verify(path: str) -> None:
    """Check sizes and checksums of a file, before PyTorch reads it.

    Files of PyTorch before 1.6, which are not zip archives, have no checksums.
    """
    size = regular_size(path)
    with open(path, "rb") as file:
        start = file.read(16)
    if start[8:9] == b"{" and start[:4] != _ZIP:
        raise ValueError("it is a safetensors file, expected one that torch.save wrote")
    if start[:4] != _ZIP:
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MAX_ENTRIES or len({entry.filename for entry in entries}) < len(entries):
            raise ValueError(f"found {len(entries):,} entries, expected at most {_MAX_ENTRIES:,} of different names")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
            raise ValueError("found compressed entries, expected those of torch.save")
        if not any(entry.CRC for entry in entries):
            return  # written with torch.serialization.set_crc32_options(False)
        for entry in entries:
            with archive.open(entry) as content:  # raises at the end when the checksum differs
                while content.read(_CHUNK):
                    pass


def tensors_of(content: object, where: str, max_bytes: float = math.inf) -> dict[str, torch.Tensor] | None:
    """The weights in the content of a file, by name; None when it is anything but tensors by name.

    Args:
        content: What was read.
        where: Start of the message when they are not allowed.
        max_bytes: Bytes of the file: tensors can have strides that repeat values of the file without end.

    Raises:
        ModelError: When a tensor is not a plain one of 16, 32 or 64 bits, or tensors have more values than the file holds.
    """
    if not isinstance(content, Mapping) or not content:
        return None
    for name, tensor in content.items():
        if not isinstance(name, str) or len(name) > _MAX_NAME or not isinstance(tensor, torch.Tensor):
            return None
        plain = type(tensor) in (torch.Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_nested or tensor.dtype not in (*_FLOATS, torch.int64):
            kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device}".replace("torch.", "")
            raise ModelError(f"{where}: {shown(name)} is a tensor of {kind}, expected one of 16, 32 or 64-bit floats")
    held = sum(tensor.numel() * tensor.element_size() for tensor in content.values())
    if held > _MAX_REPEATS * max_bytes:
        raise ModelError(f"{where}: found tensors of {held:,} bytes in a file of {max_bytes:,}")
    return dict(content)


def with_weights(
    make: Callable[[_Config], _Network], config: _Config, weights: Mapping[str, torch.Tensor], mismatch: str
) -> _Network:
    """The network of a configuration with these weights, which it shares where they are float32.

    Args:
        make: Makes the network of a configuration.
        config: The configuration.
        weights: Tensors by name.
        mismatch: Start of the message when they do not match.

    Raises:
        ModelError: When names, shapes or types differ, or values are not finite: `mismatch` and the differences, at most 12 of
            them by name.
    """
    blocks = max(getattr(config, "n_blocks", 0), getattr(config, "num_layers", 0))
    if blocks > max(len(weights), _MAX_FEW_BLOCKS):  # a network of thousands of blocks takes minutes to make
        raise ModelError(f"{mismatch}: found {len(weights)} tensors, too few for {blocks:,} blocks")
    with torch.device("meta"):
        model = make(config)
    model.load_state_dict(matched(weights, model.state_dict(), mismatch), assign=True)
    return model


def matched(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], mismatch: str
) -> dict[str, torch.Tensor]:
    """Weights in the types of those that a network has.

    Args:
        weights: Tensors by name.
        expected: The network's tensors by name, whose values are not read.
        mismatch: Start of the message when they do not match.

    Raises:
        ModelError: See `with_weights`.
    """
    _raise_if(_differences(weights, expected), mismatch)
    found = {name: weights[name].detach().to(tensor.dtype).contiguous() for name, tensor in expected.items()}
    odd = [
        f"{name} has values that are not finite" if tensor.is_floating_point() else f"{name} is not 0, 1, 2 ..."
        for name, tensor in found.items()
        if not _is_sound(tensor)
    ]
    _raise_if(odd, mismatch)
    return found


def _raise_if(differences: list[str], mismatch: str) -> None:
    if differences:
        listed = "; ".join(differences[:_MAX_LISTED])
        more = f"; and {len(differences) - _MAX_LISTED} more" if len(differences) > _MAX_LISTED else ""
        raise ModelError(f"{mismatch}: {listed}{more}")


def _is_sound(tensor: torch.Tensor) -> bool:
    """Whether floats are finite, and integers, which are the indices of positions, count from 0."""
    if tensor.is_floating_point():
        # A sum is ten times as fast, and not finite if a value is not; it can also exceed the range of the type.
        return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
    return tensor.flatten().equal(torch.arange(tensor.numel()))


def _differences(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Names that are missing, not part of the network, of another shape, or integers instead of floats."""
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{printable(name, 80)} is not part of the network" for name in found if name not in expected]
    for name, tensor in expected.items():
        if name in found and found[name].shape != tensor.shape:
            differences.append(f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}")
        elif name in found and found[name].is_floating_point() != tensor.is_floating_point():
            differences.append(f"{name} is {found[name].dtype}, expected {tensor.dtype}")
    return differences
