"""Nouns of data curation, shared by the recipes `import_data` and `curate`. Records are data, never orders."""
