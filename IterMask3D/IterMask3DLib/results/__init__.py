"""What a run leaves behind: lesion table, curve, volumes, report."""
