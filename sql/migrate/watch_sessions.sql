-- What the migrations' sessions are running, the progress of an index, and the sessions that block
-- them.
-- @param application_name text: of the sessions to watch
-- @return pid, query, query_start, seconds, waits_for_lock, blockers; of an index that is being
-- built: phase, blocks_done, blocks_total
SELECT
    mine.pid,
    mine.query,
    mine.query_start,
    extract(EPOCH FROM clock_timestamp() - mine.query_start)::float8 AS seconds,
    coalesce(mine.wait_event_type = 'Lock', false) AS waits_for_lock,
    index_build.phase,
    index_build.blocks_done,
    index_build.blocks_total,
    array(
        SELECT
            concat(
                'pid ', other.pid, ' (', other.usename, ', ',
                coalesce(nullif(other.application_name, ''), 'no application name'), ', ',
                other.state, ', ',
                round(extract(EPOCH FROM clock_timestamp() - other.xact_start)), ' s: ',
                left(regexp_replace(other.query, '\s+', ' ', 'g'), 60), ')'
            )
        FROM pg_stat_activity AS other
        WHERE other.pid = any(pg_blocking_pids(mine.pid))
        ORDER BY other.xact_start
    ) AS blockers
FROM pg_stat_activity AS mine
LEFT JOIN pg_stat_progress_create_index AS index_build ON mine.pid = index_build.pid
WHERE mine.application_name = %(application_name)s
    AND mine.datname = current_database()
    AND mine.state = 'active'
    AND mine.pid <> pg_backend_pid()
ORDER BY mine.query_start;
