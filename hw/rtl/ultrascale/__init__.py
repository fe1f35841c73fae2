"""The cells of UltraScale+, placed explicitly."""
