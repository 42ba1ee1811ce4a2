"""Inspect corpora and WebDataset tars: summaries, pairs, contact sheets, HTML pages and comparisons."""

from iptdata.inspection.choose import PairSelection, choose, find_pair_by_key
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.compare import Comparison, Comparisons, compare
from iptdata.inspection.corpus import Corpus
from iptdata.inspection.ladder import ladder_of_image, ladder_of_pair
from iptdata.inspection.page import page
from iptdata.inspection.pair import Pair
from iptdata.inspection.sheet import contact_sheet, ladder_sheet
from iptdata.inspection.summary import SplitSummary
from iptdata.inspection.tar_summary import TarsSummary
from iptdata.inspection.text import Summary, summarise_all

__all__ = [
    "ColumnStats",
    "Comparison",
    "Comparisons",
    "Corpus",
    "Pair",
    "PairSelection",
    "SplitSummary",
    "Summary",
    "TarsSummary",
    "choose",
    "compare",
    "contact_sheet",
    "find_pair_by_key",
    "ladder_of_image",
    "ladder_of_pair",
    "ladder_sheet",
    "page",
    "summarise_all",
]
