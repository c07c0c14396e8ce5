"""PgBouncer's files, from the environment of a pooler's container."""
