"""Shards: plain WebDataset tars that are fixed-stride arrays at the same time. docs/shard-format.md specifies them."""

from iptdata.files.tar_samples import Sample
from iptdata.shards.corpus import SplitTotals, finish_corpus
from iptdata.shards.find import ShardGroup, find_groups, find_shards
from iptdata.shards.index import IndexEntry, open_folder
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import Reject, ShardInfo
from iptdata.shards.reader import Shard
from iptdata.shards.record import SCHEMA_VERSION, RecordFormat
from iptdata.shards.tars import Tar, TarContents
from iptdata.shards.verify import verify_shards
from iptdata.shards.writer import SampleBlock, ShardWriter, writing_shard

__all__ = [
    "SCHEMA_VERSION",
    "IndexEntry",
    "Layout",
    "RecordFormat",
    "Reject",
    "Sample",
    "SampleBlock",
    "Shard",
    "ShardGroup",
    "ShardInfo",
    "ShardWriter",
    "SplitTotals",
    "Tar",
    "TarContents",
    "find_groups",
    "find_shards",
    "finish_corpus",
    "open_folder",
    "verify_shards",
    "writing_shard",
]
