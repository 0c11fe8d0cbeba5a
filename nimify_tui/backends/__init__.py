"""Transport to each kind of place; a call that changes something takes a Permit."""
