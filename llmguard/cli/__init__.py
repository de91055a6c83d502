"""The command line: noun verb, one file a noun."""
