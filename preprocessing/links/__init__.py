"""Links between items: the names in LLM answers, found in the catalogue."""
