"""Results → what a person or a program reads. Nothing here computes results or writes files."""
