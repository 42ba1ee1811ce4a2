"""Keys of samples: ASCII, unique and short for any image name."""

import re
from collections.abc import Sequence

from iptdata import rng

_NOT_KEY_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]+")
_READABLE_CHARACTERS = 48
_LABEL_BYTES = 32
_NEEDS_JSON_ESCAPE = re.compile(r'[\x00-\x1f\x7f"\\\ud800-\udfff]')


def image_key(source_key: str) -> str:
    """The prefix of the keys of an image's pairs: a readable part and 12 hexadecimal digits of a hash.

    The readable part is label and file name with everything but letters, digits, `_` and `-` replaced (WebDataset ends a key
    at the first dot); the hash of the full source key distinguishes images with the same readable part.
    """
    label, _, rest = source_key.partition("/")
    stem = rest.split("/", 1)[0].rsplit("@", 1)[0].rsplit(".", 1)[0] if "/" in rest else rest.rsplit(".", 1)[0]
    text = stem if stem.startswith(label) else f"{label}_{stem}"
    return f"{_NOT_KEY_CHARACTERS.sub('_', text)[:_READABLE_CHARACTERS]}-{rng.digest('key', source_key, size=6).hex()}"


def pair_keys(source_key: str, patches: Sequence[int]) -> list[str]:
    """One key per patch index: at most 72 ASCII characters for indices below 10^10."""
    prefix = image_key(source_key)
    return [f"{prefix}-{patch:03d}" for patch in patches]


def plain_label(label: str) -> str:
    """The label as stored in the json member: at most 32 bytes of UTF-8 that need no escapes."""
    return _NEEDS_JSON_ESCAPE.sub("_", label).encode()[:_LABEL_BYTES].decode("utf-8", "ignore")
