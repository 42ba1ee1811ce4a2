"""Looking at corpora."""
