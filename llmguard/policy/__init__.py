"""Built-in rules over facts: may this app make this request, and within which parameters."""
