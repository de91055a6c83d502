"""The request path: nine steps in one pipeline."""
