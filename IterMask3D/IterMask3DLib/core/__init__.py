"""Records and rules that everything speaks: images, geometry, cards, requests, results, files.

NumPy and the standard library only.
"""
