"""Look a task through for what would spoil a result."""
