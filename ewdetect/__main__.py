"""`python -m ewdetect`."""

from ewdetect.cli import main

main()
