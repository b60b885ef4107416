"""Mathematical functions: what each source of them costs, and how far it is from the truth.

    python -m benchmarks.vector_math

- `minimax`: how the polynomials of the generated file's functions were found;
- `library`: loops over arrays that call the functions of a source, compiled as models are;
- `accuracy`: errors against mpmath, in units of the last place.
"""
