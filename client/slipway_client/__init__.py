"""Typed calls to Triton."""
