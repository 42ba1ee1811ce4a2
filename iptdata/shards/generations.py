"""The generations of a recipe and split: the first build, and the extensions with more images."""

from bisect import insort
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from iptdata.shards.manifest import ShardInfo

_NOT_CONTENT = {"recipe": ("description",), "source": ("description", "option", "settings", "terms")}


@dataclass(kw_only=True)
class Generation:
    """The shards of a recipe and split from one source.

    Attributes:
        number: 0 for the first build, then 1, 2, ...
        identity: Identity of its shards, see `ShardInfo`.
        first: Number in the name of its first unit.
        shards: Number of shards.
        images: Number of images that were read.
        pairs: Number of pairs.
    """

    number: int
    identity: dict[str, Any] = field(repr=False)
    first: int
    shards: int = 0
    images: int = 0
    pairs: int = 0

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the source."""
        return self.identity["source"]["fingerprint"]

    def plain(self) -> dict[str, Any]:
        """The entry in `corpus.json`."""
        source = self.identity["source"]
        return {
            "generation": self.number,
            "source": source["description"],
            "source_images": source["images"],
            "fingerprint": self.fingerprint,
            "limit": self.identity["options"].get("limit"),
            "first_shard": self.first,
            "shards": self.shards,
            "images": self.images,
            "pairs": self.pairs,
        }


def content(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of an identity that pairs depend on: not how recipe and source are described or opened."""
    return identity | {part: _without(identity[part], names) for part, names in _NOT_CONTENT.items()}


def without_source(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of the content that all generations of a recipe and split have in common."""
    return _without(content(identity), ("source",)) | {"options": _without(identity["options"], ("limit",))}


def _without(values: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def add_to_generations(generations: list[Generation], info: ShardInfo) -> None:
    """Count a shard; `generations` is sorted by number."""
    found = next((generation for generation in generations if generation.number == info.generation), None)
    if found is None:
        found = Generation(number=info.generation, identity=info.identity, first=info.number - info.unit)
        insort(generations, found, key=lambda generation: generation.number)
    found.shards += 1
    found.images += info.images
    found.pairs += info.pairs
