"""What readers of the trace store catch; the request path knows only `Fault`."""


class TraceStoreError(Exception):
    """The store cannot be read now: it is held by another program, too new, or not there."""


class DamagedStoreError(TraceStoreError):
    """The file is not what was written, so that no row of it can be read."""


class TraceQueryError(Exception):
    """The question cannot be answered: it is no single SELECT, does not parse, or takes too long."""
