"""Training: losses, and what turns a stream and a network into checkpoints."""
