-- Tell whether deploy/citus/distribute.sql has distributed the database over several servers.
-- @return is_distributed
SELECT to_regprocedure('share_settings()') IS NOT NULL AS is_distributed;
