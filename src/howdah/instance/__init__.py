"""What runs in the database container."""
