"""Files, local or remote: the one place that opens them."""

from iptdata.files.backend import Sink
from iptdata.files.paths import Path, Paths, path_list
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage, split_file_path
from iptdata.files.urls import split_query

__all__ = ["TEMPORARY_SUFFIX", "Path", "Paths", "Sink", "Storage", "path_list", "split_file_path", "split_query"]
