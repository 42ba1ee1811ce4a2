"""The json member of a sample: only bounded fields, so that its size is constant for a recipe."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from iptdata.files.tar_members import BLOCK, round_up
from iptdata.recipe import Recipe
from iptdata.shards.keys import plain_label
from iptdata.shards.layout import MAX_KEY_BYTES

SCHEMA_VERSION = 1
_MAX_INTEGER = 10**9
_MAX_LABEL = "x" * 32


class RecordFormat:
    """Writes the json members of one recipe.

    Attributes:
        size: Bytes of each member: the smallest multiple of 512 that holds the largest one.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._fields = [(name, field) for _, name, field in recipe.recorded]
        parameters = ",".join(f"{json.dumps(name)}:%s" for name, _ in self._fields)
        self._template = (
            f'{{"schema":{SCHEMA_VERSION},"key":"%s","recipe":"{recipe.task}","label":"%s","patch":%d,"box":[%d,%d,%d,%d],'
            f'"params":{{{parameters}}}}}'
        )
        widest = ["9" * field.width for _, field in self._fields]
        largest = self._template % ("k" * MAX_KEY_BYTES, _MAX_LABEL, *(_MAX_INTEGER,) * 5, *widest)
        self.size: int = round_up(len(largest), BLOCK)

    def encode(
        self, keys: Sequence[str], label: str, patches: Sequence[int], boxes: np.ndarray, values: Mapping[str, np.ndarray]
    ) -> list[bytes]:
        """Make one json text per pair of an image.

        Args:
            keys: Key of each pair.
            label: Label of the image.
            patches: Patch index of each pair.
            boxes: int (N, 4): top, left, height, width of the clean patch in the image.
            values: The recorded values by stored name, each of shape (N,).
        """
        plain = plain_label(label)
        columns = [[field.text(value) for value in values[name].tolist()] for name, field in self._fields]
        rows = zip(keys, patches, boxes.tolist(), *columns, strict=True)
        return [(self._template % (key, plain, patch, *box, *texts)).encode() for key, patch, box, *texts in rows]
