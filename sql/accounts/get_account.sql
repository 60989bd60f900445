-- Show the account of a token's user.
-- @param user_id uuid
-- @return id, email, created_at; tasks: how many the user has; or no row
SELECT
    users.id,
    users.email,
    users.created_at,
    coalesce(
        (
            SELECT clocks.tasks
            FROM clocks
            WHERE clocks.user_id = %(user_id)s
        ),
        (
            SELECT count(tasks.id)
            FROM tasks
            WHERE tasks.user_id = %(user_id)s
        )
    ) AS tasks
FROM users
WHERE users.id = %(user_id)s;
