"""Building a corpus: a plan of units, a pure function that builds one, and a driver that hands them out."""
