"""The recipe for iris: six classifiers compared on four measurements of a flower."""
