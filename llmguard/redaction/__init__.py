"""What counts as personal data, hidden before the provider sees it and restored for the app."""
