"""What the ledger and the records say: where each concept stands, and where anything came from. Reads only."""
