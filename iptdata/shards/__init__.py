"""Shards: plain WebDataset tars that are fixed-stride arrays at the same time. docs/shard-format.md specifies them."""
