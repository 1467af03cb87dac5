"""Answers made elsewhere: read as they come, checked, and written in this project's form."""
