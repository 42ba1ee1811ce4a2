"""Shards to batches: `PairStream` gives batches of pairs, `DeviceStream` brings them to a device."""

from iptdata.stream.batch import Batch
from iptdata.stream.device import DeviceStream, Preparation
from iptdata.stream.stream import PairStream

__all__ = ["Batch", "DeviceStream", "PairStream", "Preparation"]
