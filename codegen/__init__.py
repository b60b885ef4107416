"""From scheduled IR to C: the kernel plan, its names, and the templates that lay it out."""
