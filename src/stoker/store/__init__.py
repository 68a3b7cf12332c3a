"""Everything the platform remembers: one database, one file of the package per noun."""
