"""How results are shown: colours and displays, layers of the slice views, layouts."""
