"""Restore images and photos of any size with a trained network, tile by tile."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iptdata.restoration.baselines import Bicubic, Identity, ImageRestorer
    from iptdata.restoration.options import RestoreOptions, RestorerOptions
    from iptdata.restoration.photos import PhotoResult, restore
    from iptdata.restoration.restorer import Restorer

__all__ = [
    "Bicubic",
    "Identity",
    "ImageRestorer",
    "PhotoResult",
    "RestoreOptions",
    "Restorer",
    "RestorerOptions",
    "restore",
]

_MODULES = {
    "Bicubic": "baselines",
    "Identity": "baselines",
    "ImageRestorer": "baselines",
    "PhotoResult": "photos",
    "RestoreOptions": "options",
    "Restorer": "restorer",
    "RestorerOptions": "options",
    "restore": "photos",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading `options` does not import torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
