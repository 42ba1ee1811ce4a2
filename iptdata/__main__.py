"""`python -m iptdata`."""

from iptdata.cli import main

main()
