"""Measures the book's code beside the code of the tutorials that it grew from: `make bench`."""
