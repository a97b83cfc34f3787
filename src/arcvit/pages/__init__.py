"""Pages for the browser: of a run, of a bench, of the demo; each is one file."""
