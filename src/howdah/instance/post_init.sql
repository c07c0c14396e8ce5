-- Run once, after the cluster was made, as superuser in the database postgres. Idempotent.
-- psql variables: human_role (a role name), extensions (names, comma separated: those that can be made here).

SET client_min_messages = warning;

-- Group roles: nobody logs in as them; they are reset to exactly these attributes.
SELECT format('CREATE ROLE %I', name)
  FROM (VALUES ('admin'), ('cron_admin'), (:'human_role'), ('robot_zmon')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name)
\gexec

SELECT format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION INHERIT %s', name, createdb)
  FROM (VALUES ('admin', 'CREATEDB'),
               ('cron_admin', 'NOCREATEDB'),
               (:'human_role', 'NOCREATEDB'),
               ('robot_zmon', 'NOCREATEDB')) AS wanted (name, createdb)
\gexec

GRANT cron_admin TO admin;

SELECT format('CREATE EXTENSION IF NOT EXISTS %I', name)
  FROM unnest(string_to_array(:'extensions', ',')) WITH ORDINALITY AS wanted (name, place)
 WHERE name <> ''
 ORDER BY place
\gexec

SELECT format('GRANT USAGE ON SCHEMA cron TO cron_admin')
  FROM pg_catalog.pg_namespace
 WHERE nspname = 'cron'
\gexec

CREATE SCHEMA IF NOT EXISTS user_management;
CREATE SCHEMA IF NOT EXISTS zmon_utils;
CREATE SCHEMA IF NOT EXISTS metric_helpers;

GRANT USAGE ON SCHEMA user_management TO admin;
GRANT USAGE ON SCHEMA zmon_utils, metric_helpers TO robot_zmon;
GRANT USAGE ON SCHEMA metric_helpers TO admin;
