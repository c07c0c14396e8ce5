"""Environments as the operator renders them, and machines, for the tests of this folder."""

from howdah.core.spilo.machine import Installation, Machine

GIB = 1024**3

ENVIRONMENT = {
    "SCOPE": "acid-minimal-cluster",
    "PGROOT": "/home/postgres/pgdata/pgroot",
    "POD_IP": "10.2.3.4",
    "POD_NAMESPACE": "default",
    "PGUSER_SUPERUSER": "postgres",
    "KUBERNETES_SCOPE_LABEL": "cluster-name",
    "KUBERNETES_ROLE_LABEL": "spilo-role",
    "PGPASSWORD_SUPERUSER": "superuser-password",
    "PGUSER_STANDBY": "standby",
    "PGPASSWORD_STANDBY": "standby-password",
    "PAM_OAUTH2": "https://info.example.com/oauth2/tokeninfo?access_token= uid realm=/employees",
    "HUMAN_ROLE": "zalandos",
    "PGVERSION": "18",
    "KUBERNETES_LABELS": '{"application":"spilo"}',
    "SPILO_CONFIGURATION": (
        '{"postgresql":{"parameters":{"shared_buffers":"32MB","log_file_mode":"0640"}},'
        '"bootstrap":{"initdb":[{"auth-host":"scram-sha-256"},{"auth-local":"trust"},"data-checksums"],'
        '"dcs":{"ttl":40,"failsafe_mode":true,"postgresql":{"parameters":{"max_connections":"200"}}}}}'
    ),
    "DCS_ENABLE_KUBERNETES_API": "true",
    "KUBERNETES_BOOTSTRAP_LABELS": '{"critical-operation":"true"}',
    "KUBERNETES_USE_CONFIGMAPS": "true",
    # What the kubelet and Kubernetes add.
    "HOSTNAME": "acid-minimal-cluster-0",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
}

LOCAL = ENVIRONMENT | {
    "POD_IP": "127.20.0.2",
    "PGROOT": "/srv/volumes/pgdata/pgroot",
    "RW_DIR": "/tmp/pods/a1",
    "KUBECONFIG": "/tmp/pods/a1/kubeconfig",
    "HOWDAH_PATRONI_AUTH": "derived",
}

FULL = Installation(
    major=18,
    bin_dir="/usr/lib/postgresql/18/bin",
    features=frozenset({"openssl", "icu", "pam", "ldap", "gssapi"}),
    libraries=frozenset(
        {
            "bg_mon",
            "pg_stat_statements",
            "pgextwlist",
            "pg_auth_mon",
            "set_user",
            "timescaledb",
            "pg_cron",
            "pg_stat_kcache",
        }
    ),
    extensions=frozenset({"pg_auth_mon", "pg_cron", "file_fdw", "pg_stat_statements", "pg_stat_kcache", "set_user"}),
)
BARE = Installation(major=18, bin_dir="/opt/wheel/pginstall18/bin", extensions=frozenset({"plpgsql", "vector"}))


def machine(build=FULL, **changes):
    facts = {
        "postgres": build,
        "memory_bytes": 4 * GIB,
        "utf8_locale": "en_US.UTF-8",
        "post_init_sql": "/opt/howdah/post_init.sql",
        "create_replica": "/usr/bin/python3 /opt/howdah/replica.py",
        "refuse_bootstrap": "/usr/bin/python3 /opt/howdah/refuse_bootstrap.py",
        "before_promotion": "/usr/bin/python3 /opt/howdah/before_promotion.py",
        "before_stop": "/usr/bin/python3 /opt/howdah/before_stop.py",
        "stand_ins": {name: f"/opt/howdah/{name}.sh" for name in ("pg_controldata", "pg_isready")},
    }
    return Machine(**{**facts, **changes})


def without(environment, *names):
    return {name: value for name, value in environment.items() if name not in names}
