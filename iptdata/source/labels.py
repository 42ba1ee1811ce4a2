"""Labels and names as files store them, as text that is safe to use: valid, and of bounded length."""

import json
import re
from typing import Any

import pyarrow as pa

from iptdata.compute import pc
from iptdata.errors import SourceError, shown

MAX_TEXT_BYTES = 4096
_TEXT_TYPES = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
_MAX_FEATURES_BYTES = 16 << 20
_WNID = re.compile(r"n[0-9]{8}")


def class_names(metadata: dict[bytes, bytes] | None, column: str) -> list[str]:
    """The names of the labels 0, 1, ... if the metadata of a file of the Hugging Face Hub says that they are wnids; else none.

    `imagenet-1k` has descriptions there, such as `tench, Tinca tinca`, which name no folder of ImageNet; they are not used.

    Args:
        metadata: Key-value metadata of a Parquet file.
        column: Name of the column with the labels.
    """
    data = (metadata or {}).get(b"huggingface", b"")
    if not data or len(data) > _MAX_FEATURES_BYTES:
        return []
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return []
    for key in ("info", "features", column, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, list) and all(isinstance(name, str) and is_wnid(name) for name in found):
        return found
    return []


def text_of_labels(labels: pa.Array, names: list[str]) -> pa.Array:
    """Labels as text: text as it is, an integer as the name of its class if that is known, else as a number.

    Args:
        labels: The labels as stored, or a dictionary of them.
        names: The names of the classes 0, 1, ...; empty if they are not known.

    Raises:
        SourceError: When they are neither; the message is a clause.
        ValueError: See `text_of_names`.
    """
    kind = labels.dictionary.type if isinstance(labels, pa.DictionaryArray) else labels.type
    if is_text(kind):
        return text_of_names(labels)
    if not pa.types.is_integer(kind) and not pa.types.is_null(kind):
        raise SourceError(f"has labels of type {shown(str(kind))}, expected integers or text")
    if isinstance(labels, pa.DictionaryArray):
        labels = labels.dictionary_decode()
    digits = labels.cast(pa.string())
    if not names or pa.types.is_null(kind):
        return digits
    known = pc.and_(pc.greater_equal(labels, 0), pc.less(labels, len(names)))
    return pc.coalesce(pa.array(names, pa.string()).take(pc.if_else(known, labels, None).cast(pa.int64())), digits)


def text_of_names(names: pa.Array) -> pa.Array:
    """Text, bytes that are text, or a dictionary of them, as text; empty ones are null.

    Raises:
        ValueError: When one is longer than a name can be; also what pyarrow raises if one is not UTF-8.
    """
    if isinstance(names, pa.DictionaryArray):
        return text_of_names(names.dictionary).take(names.indices)
    data = names.cast(pa.large_binary())
    longest = pc.max(pc.binary_length(data)).as_py() or 0
    if longest > MAX_TEXT_BYTES:
        raise ValueError(f"found a name of {longest:,} bytes, expected at most {MAX_TEXT_BYTES:,}")
    text = data.cast(pa.binary()).cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def is_wnid(text: str) -> bool:
    """Whether a text is a WordNet identifier, which names a class of ImageNet."""
    return _WNID.fullmatch(text) is not None


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or bytes that may be text."""
    return str(kind) in _TEXT_TYPES
