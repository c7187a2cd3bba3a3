-- Roles and database of a Jintuo site on PostgreSQL 15 or later. Run once, as a superuser:
--
--   psql -v owner_password=… -v service_password=… -f deploy/postgres.sql
--
-- Three roles, so that the login that serves pages and takes files in cannot rewrite history:
--   jintuo_owner    owns the tables; used for `jintuo migrate` only
--   jintuo_runtime  holds the service's rights; nobody logs in as it. The first migration grants it
--                   SELECT and INSERT, and neither UPDATE nor DELETE, on every append-only table
--   jintuo_service  what the service and the daily commands log in as; a member of jintuo_runtime
\set ON_ERROR_STOP on
\if :{?owner_password} \else \warn 'give -v owner_password=…' \quit \endif
\if :{?service_password} \else \warn 'give -v service_password=…' \quit \endif

CREATE ROLE jintuo_runtime NOLOGIN;
CREATE ROLE jintuo_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE jintuo_service LOGIN PASSWORD :'service_password' IN ROLE jintuo_runtime;

-- Reads whether standbys acknowledge what they are sent (pg_stat_replication): the service refuses to start
-- where a fail-over would lose acknowledged facts, and warns where it may not look. Statistics only, no rows.
GRANT pg_read_all_stats TO jintuo_service, jintuo_owner;

CREATE DATABASE jintuo OWNER jintuo_owner TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE jintuo FROM PUBLIC;
GRANT CONNECT ON DATABASE jintuo TO jintuo_service;

\connect jintuo
-- The owner makes the tables here; the service only uses them.
ALTER SCHEMA public OWNER TO jintuo_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
