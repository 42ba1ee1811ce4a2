"""Shards to batches: `PairStream` yields batches of pairs, `DeviceStream` moves them to a device."""

from iptdata.stream.augment import Augment, orient
from iptdata.stream.batch import Batch
from iptdata.stream.device import DeviceBatch, DeviceStream, Preparation
from iptdata.stream.options import OnError, Remainder, ShuffleMode, StreamOptions, TaskWeights
from iptdata.stream.share import Share
from iptdata.stream.shuffle import Shuffle
from iptdata.stream.stream import PairStream

__all__ = [
    "Augment",
    "Batch",
    "DeviceBatch",
    "DeviceStream",
    "OnError",
    "PairStream",
    "Preparation",
    "Remainder",
    "Share",
    "Shuffle",
    "ShuffleMode",
    "StreamOptions",
    "TaskWeights",
    "orient",
]
