"""Loading pipelines, encoders and judges: the shipped parts model, local folders, pinned hub revisions."""
