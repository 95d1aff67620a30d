"""``python -m worker`` is the command ``bulklink``."""

from worker.cli import main

main()
