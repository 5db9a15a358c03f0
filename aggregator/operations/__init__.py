"""What an operator sees of a hub: metrics, health, status."""
