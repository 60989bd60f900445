-- List what has changed after a position of the change feed, in the order of the changes: a task as
-- it is now, or the id of a task that was deleted. Each table is read in the order of its index, up
-- to `limit` + 1 rows. A page ends at `max_bytes` of JSON, too.
--
-- One statement has one snapshot: what the clock shows is the time of the last change in it.
-- @param user_id uuid
-- @param after_at timestamptz: the page starts after this change; infinity for no changes
-- @param after_id uuid: the task of the same change; the greatest id after all changes of its time
-- @param limit integer
-- @param max_bytes integer: of JSON; the page ends with the task that reaches it
-- @return up to limit + 1 changes: the task, or nulls if is_deleted; task_id and changed_at: the
-- position, or nulls without changes; is_full: the page has max_bytes; epoch, and clock_at: the
-- position of now; is_purged: deletions after the position have been purged
WITH feed AS (
    SELECT
        feed_epoch.epoch,
        -- Without a clock nothing has been written since there are clocks
        coalesce(
            clocks.at,
            (
                SELECT max(updated_at)
                FROM tasks
                WHERE user_id = %(user_id)s
            ),
            timestamptz 'epoch'
        ) AS clock_at,
        -- The page may start among deletions that have one time, and that have been purged.
        coalesce(
            (clocks.purged_at, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            > (%(after_at)s::timestamptz, %(after_id)s::uuid),
            false
        ) AS is_purged
    FROM feed_epoch
    LEFT JOIN clocks ON clocks.user_id = %(user_id)s
), changed AS (
    SELECT
        id, user_id, title, description, completed, due_on, priority, labels, position,
        completed_at, created_at, updated_at
    FROM tasks
    WHERE user_id = %(user_id)s
        AND (updated_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
    ORDER BY updated_at, id
    LIMIT %(limit)s::integer + 1
), deleted AS (
    SELECT id, deleted_at
    FROM deleted_tasks
    WHERE user_id = %(user_id)s
        AND (deleted_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
        -- A task with this id can have been created again.
        AND NOT EXISTS (
            SELECT FROM tasks
            WHERE tasks.user_id = %(user_id)s AND tasks.id = deleted_tasks.id
        )
    ORDER BY deleted_at, id
    LIMIT %(limit)s::integer + 1
), change AS (
    SELECT
        id AS task_id,
        updated_at AS changed_at,
        false AS is_deleted,
        -- A control character has six bytes in JSON, all but the texts 500.
        500 + octet_length(to_json(title)::text) + octet_length(to_json(labels)::text)
        + coalesce(octet_length(to_json(description)::text), 0) AS bytes
    FROM changed
    UNION ALL
    SELECT id AS task_id, deleted_at AS changed_at, true AS is_deleted, 70 AS bytes
    FROM deleted
), counted AS (
    SELECT
        task_id, changed_at, is_deleted, bytes,
        sum(bytes) OVER (ORDER BY changed_at, task_id ROWS UNBOUNDED PRECEDING) AS page_bytes
    FROM change
), page AS (
    SELECT task_id, changed_at, is_deleted, page_bytes >= %(max_bytes)s AS is_full
    FROM counted
    WHERE page_bytes - bytes < %(max_bytes)s
    ORDER BY changed_at, task_id
    LIMIT %(limit)s::integer + 1
)
SELECT
    changed.*,
    page.task_id, page.changed_at, page.is_deleted, page.is_full,
    feed.epoch, feed.clock_at, feed.is_purged
FROM feed
LEFT JOIN page ON true
LEFT JOIN changed ON changed.id = page.task_id AND NOT page.is_deleted
ORDER BY page.changed_at, page.task_id;
