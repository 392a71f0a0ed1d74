"""A version's files: packed, loaded after its checks, exported, pruned."""
