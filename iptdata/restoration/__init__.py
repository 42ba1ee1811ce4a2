"""Restore images and photos of any size with a trained network, tile by tile."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iptdata.lazy import on_first_use

if TYPE_CHECKING:
    from iptdata.restoration.baselines import Bicubic, Identity, ImageRestorer
    from iptdata.restoration.execution import Execution
    from iptdata.restoration.options import RestoreOptions, RestorerOptions
    from iptdata.restoration.photos import PhotoResult, restore
    from iptdata.restoration.restorer import Restorer

__all__ = [
    "Bicubic",
    "Execution",
    "Identity",
    "ImageRestorer",
    "PhotoResult",
    "RestoreOptions",
    "Restorer",
    "RestorerOptions",
    "restore",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "Bicubic": "baselines",
        "Execution": "execution",
        "Identity": "baselines",
        "ImageRestorer": "baselines",
        "PhotoResult": "photos",
        "RestoreOptions": "options",
        "Restorer": "restorer",
        "RestorerOptions": "options",
        "restore": "photos",
    },
)
