"""Diagonal Fisher information of a frozen network under a task's own linear head (FED, Task2Vec)."""
