"""How data sets lie on disk: one reader per layout, one shape for what all of them find."""
