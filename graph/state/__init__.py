"""What keeps its value from run to run, as users hold it: variables, queues, readers, accumulators, tensor arrays."""
