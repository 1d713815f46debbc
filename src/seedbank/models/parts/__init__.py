"""parts: the small diffusion model that ships with seedbank, the world it was trained on and its three judges.

The weights lie in folders that diffusers and transformers load directly; ``weights/MODEL_CARD.md`` says what they can do.
"""

from pathlib import Path

PARTS = Path(__file__).parent / "weights"
PIPELINE = PARTS / "pipeline"
ENCODER = PARTS / "encoder"
GUARD = PARTS / "guard"
AUDITOR = PARTS / "auditor"
