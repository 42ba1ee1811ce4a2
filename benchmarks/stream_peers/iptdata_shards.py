"""iptdata's own shards and `PairStream`: batches are channels-last views of pixels gathered from the mapped shards."""

import hashlib
from pathlib import Path
from typing import Any

from common import SHAPE, Batches, Peer, main

from iptdata.files.storage import Storage
from iptdata.recipe import load_recipes
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import ShardInfo, write_manifest
from iptdata.stream import PairStream

REQUIREMENTS = ["iptdata"]
_PAIRS_PER_SHARD = 4096


def convert(pairs: Any, folder: Path) -> None:
    (recipe,) = load_recipes(["noise30"])
    layout = Layout(clean=SHAPE, corrupted=SHAPE, json_size=512)
    storage = Storage(str(folder / "noise30" / "train"))
    storage.make_folder()
    for shard, start in enumerate(range(0, len(pairs), _PAIRS_PER_SHARD)):
        part = pairs[start : start + _PAIRS_PER_SHARD]
        keys = [f"pair-{start + row:09d}" for row in range(len(part))]
        buffer = layout.blank(len(part))
        layout.corrupted_view(buffer)[...] = part[:, 0]
        layout.clean_view(buffer)[...] = part[:, 1]
        layout.write_names(buffer, keys)
        layout.write_json(buffer, [b"{}"] * len(part))
        content = buffer.tobytes() + layout.trailer(len(part))
        name = f"noise30-train-{shard:06d}"
        storage.write(f"{name}.tar", content)
        info = ShardInfo(
            schema=1,
            name=name,
            pairs=len(part),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            clean=layout.clean,
            corrupted=layout.corrupted,
            json_size=layout.json_size,
            stride=layout.stride,
            identity={"recipe": recipe.plain()},
            unit=shard,
            images=0,
            damaged_kept=0,
            compared=0,
            identical=0,
            squared_error=0.0,
        )
        write_manifest(storage, f"{name}.parquet", {}, recipe, info)


def open_batches(folder: Path, workers: int, batch_size: int) -> Batches:
    from torch.utils.data import DataLoader  # noqa: PLC0415

    stream = PairStream(str(folder), batch_size=batch_size, remainder="pad")
    loader = DataLoader(stream, batch_size=None, num_workers=workers, persistent_workers=True) if workers else stream

    def batches(_: int) -> Any:
        for batch in loader:
            fresh = len(batch.pairs) - batch.repeated
            yield batch.corrupted.permute(0, 2, 3, 1)[:fresh], batch.clean.permute(0, 2, 3, 1)[:fresh]

    return batches


if __name__ == "__main__":
    main(Peer("iptdata", "iptdata", REQUIREMENTS, convert, open_batches))
