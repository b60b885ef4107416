"""The grammar of the `.nerva` language, its parser, and its prelude."""
