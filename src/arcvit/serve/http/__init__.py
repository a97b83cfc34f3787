"""The server's door: HTTP, its protocols, limits, tokens, counters and page."""
