"""Gluon networks; they know nothing of data, configuration or tracking."""
