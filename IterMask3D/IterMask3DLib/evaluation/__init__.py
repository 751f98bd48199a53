"""Synthetic anomalies, metrics, baselines and the protocols that make a table of them."""
