"""Changes the sources at random and counts how many changes the tests notice."""
