"""Building a corpus: a plan of units, a pure function that builds one, and a driver that hands them out."""

from iptdata.builder.build import BuildObserver, BuildResult, build, estimate
from iptdata.builder.estimate import BuildEstimate, RecipeEstimate
from iptdata.builder.options import BuildOptions
from iptdata.shards.corpus import SplitTotals

__all__ = [
    "BuildEstimate",
    "BuildObserver",
    "BuildOptions",
    "BuildResult",
    "RecipeEstimate",
    "SplitTotals",
    "build",
    "estimate",
]
