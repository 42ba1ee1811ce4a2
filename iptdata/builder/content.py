"""Compare what the pairs of a shard depend on with what a build expects."""

from typing import Any

from iptdata.errors import ConflictError, printable, shown
from iptdata.shards.generations import content, without_source
from iptdata.shards.manifest import ShardInfo

_OF_SOURCE = ("generation", "options.limit", "source.")
_MAX_CHANGES = 8
_REPLACE = "Choose another `out` or `split`, or pass `overwrite=True` to replace it"
_EXTEND = "; if the source has more images than before, pass `extend=True` to add them"

Content = dict[str, Any]


def content_of(info: ShardInfo) -> Content:
    """What the pairs of a shard depend on, by names that are joined by dots."""
    return joined_content(info.identity, info.generation)


def joined_content(identity: dict[str, Any], generation: int) -> Content:
    """What pairs of this identity and generation depend on, by names that are joined by dots."""
    return _flat(content(identity)) | {"generation": generation}


def common_content(identity: dict[str, Any]) -> Content:
    """The part of the content that all generations of a corpus have in common, by names that are joined by dots."""
    return _flat(without_source(identity))


def refuse_conflict(path: str, found: Content, expected: Content, hint: str | None = None) -> None:
    """Refuse a shard with other content.

    Args:
        path: Its manifest.
        found: Its content.
        expected: The content that a build expects.
        hint: What to do; to replace or to extend it by default.

    Raises:
        ConflictError: Always; the message has the differences.
    """
    keys = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    if hint is None:
        hint = _REPLACE + (_EXTEND if all(key.startswith(_OF_SOURCE) for key in keys) else "")
    keys = [key for key in keys if key != "recipe_hash"] or keys
    changes = "; ".join(
        f"{printable(key, 80)}: found {shown(found.get(key))}, expected {shown(expected.get(key))}"
        for key in keys[:_MAX_CHANGES]
    )
    raise ConflictError(f"{path} was built with different content ({changes})", hint=hint)


def _flat(nested: dict[str, Any], prefix: str = "") -> Content:
    """Join nested keys by dots."""
    flat: Content = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
