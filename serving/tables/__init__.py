"""Tables of an export: they load fast at any size, and may grow without a change of the graph."""
