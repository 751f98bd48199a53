"""From files and nodes to what a network is given: reading, skull stripping, resampling, intensity scales."""
