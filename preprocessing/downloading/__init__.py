"""Public data sets: fetched, checked and laid out as configs/*.yaml expect them."""
