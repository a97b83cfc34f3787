"""Tasks as people have them on disk, and their images as tensors."""
