"""A bounded soak: continuous load on several workers, a fault every few seconds, and the truth at the end."""
