"""A model written by hand, to test the runtime without the code generator."""
