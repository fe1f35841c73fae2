"""How long a program takes, before any RTL runs."""
