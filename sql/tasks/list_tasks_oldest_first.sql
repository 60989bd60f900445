-- List a page of the user's tasks, oldest first. tasks_user_id_created_at_id_idx, read backwards,
-- finds the position and has the order. A page ends after `limit` tasks, at `max_bytes` of JSON, or
-- when `candidates` tasks have been read, so that no list is large and none takes long.
-- @param user_id uuid
-- @param after_created_at timestamptz: the page starts after this task; at the start: -infinity
-- @param after_id uuid: the same task
-- @param completed boolean: only tasks with this value; null: all
-- @param q text: only tasks whose title or description contains it, in any case; null: all
-- @param candidates integer: how many tasks to read at most
-- @param limit integer
-- @param max_bytes integer: of JSON; the page ends with the task that reaches it
-- @return up to limit + 1 tasks; is_full: the page has max_bytes; is_end: the last candidate, which
-- is returned even if it is no match (is_match)
WITH candidate AS (
    SELECT
        id, user_id, title, description, completed, created_at, updated_at,
        (%(completed)s::boolean IS NULL OR completed = %(completed)s)
        AND (
            %(q)s::text IS NULL
            OR strpos(lower(title), lower(%(q)s)) > 0
            OR coalesce(strpos(lower(description), lower(%(q)s)), 0) > 0
        ) AS is_match
    FROM tasks
    WHERE user_id = %(user_id)s
        AND (created_at, id) > (%(after_created_at)s::timestamptz, %(after_id)s::uuid)
    ORDER BY created_at, id
    LIMIT %(candidates)s
), scanned AS (
    SELECT
        id, user_id, title, description, completed, created_at, updated_at,
        is_match,
        row_number() OVER scan = %(candidates)s AS is_end,
        -- JSON is at least as long. This reads no description that is stored out of line.
        sum(octet_length(title) + coalesce(octet_length(description), 0))
            FILTER (WHERE is_match) OVER scan AS text_bytes
    FROM candidate
    WINDOW scan AS (ORDER BY created_at, id ROWS UNBOUNDED PRECEDING)
), sized AS (
    SELECT
        id, user_id, title, description, completed, created_at, updated_at,
        is_match, is_end,
        CASE
            WHEN NOT is_match THEN 0
            WHEN text_bytes > %(max_bytes)s THEN %(max_bytes)s
            -- A control character has six bytes in JSON, all but the texts 300.
            ELSE 300 + octet_length(to_json(title)::text)
                + coalesce(octet_length(to_json(description)::text), 0)
        END AS bytes
    FROM scanned
), counted AS (
    SELECT
        id, user_id, title, description, completed, created_at, updated_at,
        is_match, is_end, bytes,
        sum(bytes) OVER (
            ORDER BY created_at, id ROWS UNBOUNDED PRECEDING
        ) AS page_bytes
    FROM sized
)
SELECT
    id, user_id, title, description, completed, created_at, updated_at,
    is_match, is_end, page_bytes >= %(max_bytes)s AS is_full
FROM counted
WHERE (is_match OR is_end)
    AND page_bytes - bytes < %(max_bytes)s
ORDER BY created_at, id
LIMIT %(limit)s::integer + 1;
