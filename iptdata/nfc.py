"""The Unicode form NFC, in which texts are compared: file systems and archives store the same name in different forms."""

import unicodedata
from typing import TypeVar

import pyarrow as pa

from iptdata.compute import pc

Texts = TypeVar("Texts", pa.Array, pa.ChunkedArray)


def nfc(text: str) -> str:
    """Text in the Unicode form NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def nfc_column(texts: Texts) -> Texts:
    """A column of text in the Unicode form NFC."""
    return texts if pc.all(pc.string_is_ascii(texts)).as_py() else pc.utf8_normalize(texts, "NFC")
