"""PostgreSQL over its protocol: reads the catalogue, applies statements, decides nothing."""

from howdah.adapters.postgres.applying import Failure, Outcome, apply
from howdah.adapters.postgres.checking import Password, PasswordChecks
from howdah.adapters.postgres.connection import AuthenticationFailed, Target, connect, session_options
from howdah.adapters.postgres.reading import ServerSetting, observe, server_settings, sessions

__all__ = [
    "AuthenticationFailed",
    "Failure",
    "Outcome",
    "Password",
    "PasswordChecks",
    "ServerSetting",
    "Target",
    "apply",
    "connect",
    "observe",
    "server_settings",
    "session_options",
    "sessions",
]
