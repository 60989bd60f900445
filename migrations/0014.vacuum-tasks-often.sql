-- Storage parameters of tasks, the busy table. By default autovacuum starts when a fifth of a table
-- is dead, which for a large table means seldom and long: these make it often and short.
--
-- No row is rewritten, and no request waits: this takes SHARE UPDATE EXCLUSIVE, which conflicts
-- with VACUUM and other changes of the schema only. So it may wait for those as long as they take.
SET lock_timeout = 0;

ALTER TABLE tasks SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.01,
    autovacuum_vacuum_insert_scale_factor = 0.05
);
