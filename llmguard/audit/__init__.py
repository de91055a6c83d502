"""What people decide and do about the gateway, written down once and for all."""
