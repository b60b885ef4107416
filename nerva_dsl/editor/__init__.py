"""What editors and pages need: highlighting, and a language server."""
