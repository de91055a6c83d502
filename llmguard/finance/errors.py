"""What finance cannot answer, in words for people."""


class FinanceError(Exception):
    """A month, a file or a question that cannot be used; the text says what to do."""
