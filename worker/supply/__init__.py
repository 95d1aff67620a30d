"""What brings rows into the ledger and settles what is owed for them: a file, or a queue."""
