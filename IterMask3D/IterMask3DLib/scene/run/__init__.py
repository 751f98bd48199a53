"""A run from the panel: its client of the engine, its controller and what writes its result."""
