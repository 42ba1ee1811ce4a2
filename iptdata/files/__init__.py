"""Files, local or remote: the one place that opens them."""
