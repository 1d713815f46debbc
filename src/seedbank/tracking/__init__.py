"""MLflow: what people look at. The evidence lies in the store and the ledger; nothing reads it back from here."""
