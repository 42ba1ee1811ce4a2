"""iptdata: ImageNet to WebDataset shards of corrupted/clean patch pairs, and a PyTorch IPT that trains on them."""

__version__ = "0.1.0"
