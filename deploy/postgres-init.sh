#!/usr/bin/env bash
# Run once by the PostgreSQL image, on an empty data folder: database, owner and service login.
set -euo pipefail

# psql reads the passwords itself, so that no command line holds one.
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set owner_password `cat /run/secrets/owner_password`
\set service_password `cat /run/secrets/service_password`
\i /jintuo/postgres.sql
SQL
