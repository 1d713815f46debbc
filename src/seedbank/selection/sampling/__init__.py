"""Noise to images: the denoising loop as a differentiable function, its gradients, and the geometry of white noise.

In: a diffusers pipeline, a prompt, noise. Out: latents, images, gradients. Knows nothing of references, judges or searches.
"""
