"""Build a corpus: a plan divides the source into units, a pure function builds one unit, a driver runs it for each."""

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
