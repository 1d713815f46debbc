"""What is measured about one photo by itself, and the catalogue of everything that is measured about photos and sets.

In: an upright RGB image, or the measures that intake kept. Out: named numbers. Judges nothing, and imports neither intake nor judging.
"""
