"""The review gate: dossiers, decisions, and what counts as approved."""
