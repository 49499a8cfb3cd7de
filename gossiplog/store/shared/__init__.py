"""A store that several relays write: what each learns of the others' commits."""
