"""What lies in a work directory, shown to people."""
