"""One file for each method: what it is called, what it takes, what it trains and how."""
