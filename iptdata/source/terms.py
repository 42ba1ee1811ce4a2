"""Whose terms apply to the images of a source, as far as names show."""

import re

from iptdata.compute import pc
from iptdata.source.listing import Listing

IMAGENET = "imagenet"
_NAME_OF_SOURCE = re.compile(r"imagenet|ilsvrc", re.IGNORECASE)
_WNID = re.compile(r"n\d{8}")
_FILE_NAME = re.compile(r"(n\d{8}_\d+|ILSVRC2012_(train|val|test)_\d{8}(_n\d{8})?)\.\w+")
_CHECKED_NAMES = 1000


def terms_of(listing: Listing, description: str) -> str:
    """`IMAGENET` where the source is named so, or all labels or the first file names are those of ImageNet; else "".

    Args:
        listing: All images of the source.
        description: Its description.
    """
    if _NAME_OF_SOURCE.search(description):
        return IMAGENET
    labels = pc.unique(listing.table["label"].unify_dictionaries()).to_pylist()
    keys = listing.table["key"].slice(0, _CHECKED_NAMES).to_pylist()
    names = (key.rsplit("/", 1)[-1] for key in keys)
    if all(map(_WNID.fullmatch, labels)) or all(map(_FILE_NAME.fullmatch, names)):
        return IMAGENET
    return ""
