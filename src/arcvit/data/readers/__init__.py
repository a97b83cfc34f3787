"""Turn a task on disk into a list of images and labels; one layout a file."""
