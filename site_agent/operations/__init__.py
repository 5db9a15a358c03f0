"""What a hospital's IT sees of its site: metrics, health, status."""
