"""What the registry says, shown to those who ask: facts, connectors for other tools, and what is wrong with a key."""
