"""What a result is made of in the scene: one file for each kind of node."""
