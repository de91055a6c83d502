"""Frozen types that cross borders between contexts; knows the standard library only."""
