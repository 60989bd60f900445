-- Show the account of a token's user.
-- @param user_id uuid
-- @return id, email, created_at; tasks: how many the user has; or no row
SELECT
    users.id,
    users.email,
    users.created_at,
    coalesce(
        (SELECT clocks.tasks FROM clocks WHERE clocks.user_id = users.id),
        (SELECT count(*) FROM tasks WHERE tasks.user_id = users.id)
    ) AS tasks
FROM users
WHERE users.id = %(user_id)s;
