"""WebDataset's own pipeline, from tar shards with PNG members, which it decodes with Pillow."""
# pyright: reportMissingImports=false

from functools import partial

import webdataset_npy
from common import Peer, main

REQUIREMENTS = [*webdataset_npy.REQUIREMENTS, "pillow"]

convert = partial(webdataset_npy.convert, kind="png")
open_batches = partial(webdataset_npy.open_batches, kind="png")

if __name__ == "__main__":
    main(Peer("webdataset, png", "webdataset", REQUIREMENTS, convert, open_batches))
