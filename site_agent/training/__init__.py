"""Training of networks on a task's images: splits, batches, epochs, checkpoints, metrics."""
