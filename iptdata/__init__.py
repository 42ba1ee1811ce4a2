"""iptdata: ImageNet to WebDataset shards of corrupted/clean patch pairs, and a PyTorch IPT that trains on them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iptdata.inspection.corpus import Corpus

__all__ = ["Corpus", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`iptdata.Corpus`, imported when it is asked for, so that `import iptdata` is quick."""
    if name == "Corpus":
        return importlib.import_module("iptdata.inspection.corpus").Corpus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
