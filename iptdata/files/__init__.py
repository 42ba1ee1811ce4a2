"""Files, local or remote: the one place that opens them."""

from iptdata.files.backend import Sink
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage, split_file_path
from iptdata.files.urls import split_query

__all__ = ["TEMPORARY_SUFFIX", "Sink", "Storage", "split_file_path", "split_query"]
