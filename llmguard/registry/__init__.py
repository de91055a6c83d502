"""What the CoE decides in git: registry.yaml, parsed strictly and reloaded on change."""
