"""The doctor: what is wrong with a key, an address or an error, said so that whoever pasted it can mend it."""
