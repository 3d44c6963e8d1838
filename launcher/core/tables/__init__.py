"""Rank tables and hostfiles: read, written, checked."""
