"""Restoring photos of any size with a trained network, tile by tile."""
