"""seedbank: find, prove and release the seeds that make an unchanged diffusion model draw a rare concept."""

__version__ = "0.1.0"
