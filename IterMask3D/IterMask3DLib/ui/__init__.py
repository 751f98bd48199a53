"""The Qt parts of the panel: one small class for each section. Nothing here imports torch or computes."""
