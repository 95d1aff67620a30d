"""report.json, report.html and the summary on the terminal, all made from a ledger."""
