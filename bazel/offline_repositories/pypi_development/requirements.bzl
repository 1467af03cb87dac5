"""Offline, the packages come with the interpreter and none has a target."""

all_requirements = []
