-- How many tasks a run has created for these users.
SELECT count(id) AS tasks
FROM tasks
WHERE user_id = ANY(%(user_ids)s::uuid[])
    AND starts_with(title, %(prefix)s);
