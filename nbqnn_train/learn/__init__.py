"""Learning: the loop, its phases and settings, and what a training leaves behind."""
