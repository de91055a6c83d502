"""llmguard's own Presidio recognizers; importing `catalog` makes all of them loadable by class name from YAML."""
