"""What auditors and data subjects ask for: proof that nothing was changed, packs to take along, erasure, retention."""
