"""Repeated requests: the same key and body get the first answer, and are charged once."""
