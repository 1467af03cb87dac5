"""How prompts are worded: scenario files, templates, names of items."""
