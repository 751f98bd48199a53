"""What the engine finds, as MRML nodes, and all that the panel does without its widgets. Uses slicer and vtk, never Qt.

Slicer imports this at start-up. The engine is a process of its own, so that none of its packages is needed here.
"""
