"""Encoded bytes to RGB pixels, with a reason where that cannot be done."""
