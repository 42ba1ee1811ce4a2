"""Names of samples: plain, unique and short whatever the image is called."""

import re
from collections.abc import Sequence

from iptdata import rng

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")
_READABLE = 48
_LABEL_BYTES = 32
_NOT_JSON_PLAIN = re.compile(r'[\x00-\x1f\x7f"\\\ud800-\udfff]')


def image_key(source_key: str) -> str:
    """What the keys of an image's pairs begin with: a readable part and 12 hexadecimal digits of a hash.

    The readable part is label and file name with everything but letters, digits, `_` and `-` replaced (WebDataset cuts
    a key at the first dot); the hash of the true name keeps two images apart whose readable parts are the same.
    """
    label, _, rest = source_key.partition("/")
    stem = rest.split("/", 1)[0].rsplit("@", 1)[0].rsplit(".", 1)[0] if "/" in rest else rest.rsplit(".", 1)[0]
    text = stem if stem.startswith(label) else f"{label}_{stem}"
    return f"{_NOT_PLAIN.sub('_', text)[:_READABLE]}-{rng.digest('key', source_key, size=6).hex()}"


def pair_keys(source_key: str, patches: Sequence[int]) -> list[str]:
    """One key a patch: at most 72 plain ASCII characters for patch numbers below 10^10."""
    prefix = image_key(source_key)
    return [f"{prefix}-{patch:03d}" for patch in patches]


def plain_label(label: str) -> str:
    """The label as the json member holds it: at most 32 bytes of UTF-8 that need no escapes."""
    return _NOT_JSON_PLAIN.sub("_", label).encode()[:_LABEL_BYTES].decode("utf-8", "ignore")
