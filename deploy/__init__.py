"""What puts sites and the aggregator together: the one-machine federation, the demo, the command line."""
