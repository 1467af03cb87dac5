"""Taking users and items out of all that a scenario has made of them: `forget.forget`."""
