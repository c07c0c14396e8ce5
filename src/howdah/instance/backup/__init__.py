"""The logical backup's container: one compressed dump of everything, from a member into an object store."""
