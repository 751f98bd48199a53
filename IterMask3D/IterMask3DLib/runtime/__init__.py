"""Where and how networks run: devices, executors, batches, memory, processes."""
