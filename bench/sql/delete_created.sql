-- Leave these users what the database was filled with.
DELETE FROM tasks
WHERE user_id = ANY(%(user_ids)s::uuid[])
    AND starts_with(title, %(prefix)s);
