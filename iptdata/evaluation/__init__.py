"""How good a network is, measured as the field does it, and photos that it restores."""
