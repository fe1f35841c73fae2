"""``nbqnn models``: what can be trained, and what is trained already."""
