"""The names of `iptdata.model.compiled`, for scripts outside this repository that import them from here."""

from iptdata.model.compiled import compile_error, compile_in_place

__all__ = ["compile_error", "compile_in_place"]
