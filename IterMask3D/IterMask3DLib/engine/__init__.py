"""Volumes, geometry, masks and networks; knows nothing of Slicer, Qt or the command line."""
