"""The jobs of a deployment: a durable queue, and the runner that carries them to an end."""
