"""Engine results <-> MRML nodes, and everything the panel does without its widget. Uses slicer and vtk, never Qt.

Slicer imports this at start-up, when torch may be missing: packages of the engine are imported inside the functions that need them.
"""
