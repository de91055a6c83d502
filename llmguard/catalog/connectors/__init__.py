"""Connectors: descriptions of one app's way to one preset, in the formats that other tools import."""
