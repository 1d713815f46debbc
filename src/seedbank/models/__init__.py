"""Models: diffusion pipelines and the three judges, loaded from safetensors only and known by the digest of their files."""

from seedbank.models.judges import Auditor, Embedder, load_auditor, load_encoder, load_guard
from seedbank.models.pipelines import LoadedModel, load_pipeline

__all__ = ["Auditor", "Embedder", "LoadedModel", "load_auditor", "load_encoder", "load_guard", "load_pipeline"]
