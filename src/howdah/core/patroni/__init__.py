"""What Patroni is told: configuration, dynamic settings, switchover."""
