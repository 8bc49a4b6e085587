"""Training: from token shards to a checkpoint."""
