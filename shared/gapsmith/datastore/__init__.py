"""Training samples of unequal length: shards on disk, and stores that read them from disk, memory or other ranks."""
