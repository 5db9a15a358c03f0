"""Transfer experiments at the aggregator: plans, the queue of steps, what they found."""
