"""What `bulklink bench limits` runs: models of portals, and the real limits before them, in virtual time."""
