-- Delete a task of the user for good; no row means that there was none.
DELETE FROM tasks
WHERE user_id = %(user_id)s
    AND id = %(id)s
RETURNING id;
