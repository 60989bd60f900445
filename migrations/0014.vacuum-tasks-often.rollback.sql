SET lock_timeout = 0;
ALTER TABLE tasks RESET (
    autovacuum_vacuum_scale_factor,
    autovacuum_analyze_scale_factor,
    autovacuum_vacuum_insert_scale_factor
);
