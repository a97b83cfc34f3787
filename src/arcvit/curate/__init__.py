"""Labels to look at again, and photos to label next."""
