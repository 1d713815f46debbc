"""The page that shows a steward every photo, its measures and why it is in or out.

In: what validation found. Out: one HTML file. Stands above intake, judging and choosing; only validation and the command line use it.
"""
