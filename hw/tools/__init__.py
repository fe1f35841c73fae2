"""Programs of others that are run, and what they made, kept."""
