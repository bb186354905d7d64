"""`python -m shiftboss`."""

from shiftboss.cli.main import main

main()
