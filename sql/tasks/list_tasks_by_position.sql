-- List a page of the user's tasks in their manual order, those without a position last, as if they
-- were at a tilde, which no position has. tasks_user_id_position_id_idx finds the position and has
-- the order. A page ends after `limit` tasks, at `max_bytes` of texts, or when `candidates` tasks
-- have been read, so that no list is large and none takes long.
-- @param user_id uuid
-- @param after_position text: the page starts after this task; at the start: the empty text
-- @param after_id uuid: the same task
-- @param completed boolean: only tasks with this value; null: all
-- @param q text: only tasks whose title or description contains it, in any case; null: all
-- @param due_from date: only tasks that are due on this date or later; null: all
-- @param due_to date: only tasks that are due on this date or earlier; null: all
-- @param label text: only tasks that have it; null: all
-- @param priority_from integer: only tasks with this priority or a greater number; null: all
-- @param priority_to integer: only tasks with this priority or a smaller number; null: all
-- @param candidates integer: how many tasks to read at most
-- @param limit integer
-- @param max_bytes integer: of the texts; the page ends with the task that reaches it
-- @return up to limit + 1 tasks; page_bytes: of the texts of the page until here; is_end: the last
-- candidate, which is returned even if it is no match (is_match)
WITH candidate AS (
    SELECT
        id, user_id, title, description, completed, due_on, priority, labels, position,
        completed_at, created_at, updated_at,
        (%(completed)s::boolean IS NULL OR completed = %(completed)s)
        AND (
            %(q)s::text IS NULL
            OR strpos(lower(title), lower(%(q)s)) > 0
            OR coalesce(strpos(lower(description), lower(%(q)s)), 0) > 0
        )
        AND (%(due_from)s::date IS NULL OR coalesce(due_on >= %(due_from)s, FALSE))
        AND (%(due_to)s::date IS NULL OR coalesce(due_on <= %(due_to)s, FALSE))
        AND (%(label)s::text IS NULL OR %(label)s = ANY (labels))
        AND (%(priority_from)s::integer IS NULL OR priority >= %(priority_from)s)
        AND (%(priority_to)s::integer IS NULL OR priority <= %(priority_to)s) AS is_match,
        -- Reads no description that is stored out of line. A label has at most 200 bytes.
        octet_length(title) + coalesce(octet_length(description), 0) + 200 * cardinality(labels)
            AS bytes,
        place
    FROM tasks
    CROSS JOIN LATERAL (  -- noqa: ST05
        SELECT CASE WHEN position IS NULL THEN '~' ELSE position END AS place
    ) AS placed
    WHERE user_id = %(user_id)s
        AND (place, id) > (%(after_position)s::text, %(after_id)s::uuid)
    ORDER BY place, id
    LIMIT %(candidates)s
), counted AS (
    SELECT
        candidate.*,
        row_number() OVER scan = %(candidates)s AS is_end,
        coalesce(sum(candidate.bytes) FILTER (WHERE candidate.is_match) OVER scan, 0) AS page_bytes
    FROM candidate
    WINDOW scan AS (ORDER BY candidate.place, candidate.id ROWS UNBOUNDED PRECEDING)
)
SELECT
    id, user_id, title, description, completed, due_on, priority, labels, position, completed_at,
    created_at, updated_at,
    is_match, is_end, page_bytes
FROM counted
WHERE (is_match OR is_end)
    AND page_bytes - CASE WHEN is_match THEN bytes ELSE 0 END < %(max_bytes)s
ORDER BY place, id
LIMIT %(limit)s::integer + 1;
