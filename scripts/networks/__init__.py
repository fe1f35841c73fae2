"""Well-known networks that are measured with random weights; they are not trained here."""
