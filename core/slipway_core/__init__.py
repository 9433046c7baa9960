"""The words that every room shares: cards, tensors, errors, the repository's layout. numpy and pydantic only."""
