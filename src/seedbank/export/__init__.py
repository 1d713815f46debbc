"""Export: a seed as diffusers, ComfyUI or the web UI of AUTOMATIC1111 take it, with what it needs to draw the same image.

In: a seed of a finished trial, of an expansion or of a release, and the model that drew it. Out: a folder of small files. Where a tool
would draw something else, the answer is no, with the reason.
"""
