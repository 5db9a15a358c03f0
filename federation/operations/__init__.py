"""What a hub's and a site's metrics, health and status have in common."""
