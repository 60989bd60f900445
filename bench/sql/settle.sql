-- Statistics, visibility and what has to be written: before the measuring, not during it.
VACUUM ANALYZE;
CHECKPOINT;
