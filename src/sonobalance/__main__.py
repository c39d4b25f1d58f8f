"""`python -m sonobalance`."""

from sonobalance.cli import main

main()
