"""`python -m forethought`."""

from forethought.cli.main import main

main()
