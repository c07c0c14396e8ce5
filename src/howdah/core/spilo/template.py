"""The built-in values of the contract, as data: what a cluster gets where its manifest is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# bootstrap.dcs: read once, when the cluster is made. max_connections depends on memory and is added by the builder.
DYNAMIC: Mapping[str, Any] = {
    "ttl": 30,
    "loop_wait": 10,
    "retry_timeout": 10,
    "maximum_lag_on_failover": 33554432,
}
DYNAMIC_POSTGRESQL: Mapping[str, Any] = {"use_pg_rewind": True, "use_slots": True}
DYNAMIC_PARAMETERS: Mapping[str, str | int | float] = {
    "archive_mode": "on",
    "archive_timeout": "1800s",
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_max_workers": 5,
    "autovacuum_vacuum_scale_factor": 0.05,
    "checkpoint_completion_target": 0.9,
    "hot_standby": "on",
    "log_autovacuum_min_duration": 0,
    "log_checkpoints": "on",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_line_prefix": "%t [%p]: [%l-1] %c %x %d %u %a %h ",
    "log_lock_waits": "on",
    "log_min_duration_statement": 500,
    "log_statement": "ddl",
    "log_temp_files": 0,
    "max_replication_slots": 10,
    "max_wal_senders": 10,
    "tcp_keepalives_idle": 900,
    "tcp_keepalives_interval": 100,
    "track_functions": "all",
    "wal_compression": "on",
    "wal_level": "hot_standby",
    "wal_log_hints": "on",
}

# postgresql.parameters: of this member only.
LOCAL_PARAMETERS: Mapping[str, str | int] = {
    "archive_command": "/bin/true",
    "bg_mon.history_buckets": 120,
    "extwlist.custom_path": "/scripts",
    "extwlist.extensions": (
        "btree_gin,btree_gist,citext,extra_window_functions,first_last_agg,hll,hstore,hypopg,intarray,ltree,"
        "pgcrypto,pgq,pgq_node,pg_trgm,postgres_fdw,tablefunc,uuid-ossp"
    ),
    "log_destination": "csvlog",
    "log_directory": "../pg_log",
    "log_file_mode": "0644",
    "log_filename": "postgresql-%u.log",
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
    "logging_collector": "on",
    "pg_stat_statements.track_utility": "off",
    "ssl": "on",
}
PRELOADED = (
    "bg_mon",
    "pg_stat_statements",
    "pgextwlist",
    "pg_auth_mon",
    "set_user",
    "timescaledb",
    "pg_cron",
    "pg_stat_kcache",
)
# Parameters that mean nothing without their library.
LIBRARY_OF_PREFIX: Mapping[str, str] = {
    "bg_mon": "bg_mon",
    "extwlist": "pgextwlist",
    "pg_stat_statements": "pg_stat_statements",
}
# Extensions made in the database postgres, in this order, each with the library that it needs loaded.
EXTENSIONS: Mapping[str, str | None] = {
    "pg_auth_mon": "pg_auth_mon",
    "pg_cron": "pg_cron",
    "file_fdw": None,
    "pg_stat_statements": "pg_stat_statements",
    "pg_stat_kcache": "pg_stat_kcache",
    "set_user": "set_user",
}
CONNECTIONS_MIN, CONNECTIONS_MAX, MEGABYTES_PER_CONNECTION = 100, 1000, 30
SHARED_BUFFERS_PART_OF_MEMORY = 5
SHARED_BUFFERS_MIN_MB = 16

# pg_hba methods and initdb options that need a build feature.
FEATURE_OF_METHOD: Mapping[str, str] = {"pam": "pam", "ldap": "ldap", "gss": "gssapi", "cert": "openssl"}
ICU_OPTIONS = frozenset({"icu-locale", "icu-rules"})
