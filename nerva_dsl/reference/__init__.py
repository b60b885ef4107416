"""What the language comes with, for `nervac explain --prelude`.

`entries` knows the names and what is written about them; `slopes` has the derivatives as the
compiler makes them; `curves` has points to draw. All of it comes from the definitions themselves,
but for the formulas.
"""
