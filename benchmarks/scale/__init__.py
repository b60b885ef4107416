"""How cost and memory grow with the number of non-zeros."""
