-- Whose tasks are which, in the order of a list.
SELECT user_id::text, array_agg(id::text ORDER BY created_at DESC, id DESC) AS ids
FROM tasks
WHERE user_id = ANY(%(user_ids)s::uuid[])
GROUP BY user_id;
