"""Why a trace cannot be replayed, in words for the person who asked."""


class CannotReplay(Exception):
    """Nothing was sent. The message says why, and what to do instead.

    Attributes:
        is_final: nobody can change it: the trace has nothing to send.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        """Say why."""
        super().__init__(message)
        self.is_final = is_final


class BudgetSpent(CannotReplay):
    """What the responder may use does not suffice for one more."""
