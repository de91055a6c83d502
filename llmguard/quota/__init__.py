"""Exact limits: reserve before the call, settle after it."""
