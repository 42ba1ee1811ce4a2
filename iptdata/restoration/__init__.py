"""Restore images and photos of any size with a trained network, tile by tile.

Importing this package imports torch.
"""

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
