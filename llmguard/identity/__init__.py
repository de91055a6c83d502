"""Who calls: app keys, issued once, kept as keyed digests, looked up in memory."""
