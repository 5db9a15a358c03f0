"""Frozen networks: how they are built, where their weights come from, how they run fast."""
