"""Learning a model from a cohort of healthy brains."""
