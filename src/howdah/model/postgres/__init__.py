"""Roles and databases as nouns: what is desired, what the catalogue holds, statements, password verifiers."""
