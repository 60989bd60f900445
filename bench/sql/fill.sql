-- A database of so many tasks. User 1 and user 2 have 1,000 each, everybody else 20, a user's own
-- being spread over the whole table, as if all had written at the same pace for a year. Ids are
-- made of numbers, so that a statement can name a random one; they are spread as random ones are.

-- No triggers, that is no foreign keys: it is known that each task has a user.
SET session_replication_role = replica;

INSERT INTO users (id, email, password_hash)
SELECT
    md5('user ' || number)::uuid,
    'user' || number || '@example.com',
    %(password_hash)s
FROM generate_series(1, 2 + (%(tasks)s - 2000) / 20) AS numbers (number);

-- The lines of completed_at are left out for a schema that is older than this column.
INSERT INTO tasks (
    completed_at,
    id, user_id, title, description, completed, created_at, updated_at
)
SELECT
    CASE WHEN number %% 3 = 0 THEN made_at END AS completed_at,
    md5('task ' || number)::uuid,
    md5('user ' || CASE
        WHEN number <= 2000 THEN (number + 999) / 1000
        ELSE 3 + (number - 2001) %% ((%(tasks)s - 2000) / 20)
    END)::uuid,
    left('Task ' || number || ': call the supplier in Orléans about the next delivery', 59) || '.',
    left(
        'Note ' || number || ': ask for the new price list, and who promised what by when; then '
        'send a summary to Zoë and to everybody else in the office',
        119
    ) || '.',
    number %% 3 = 0,
    made_at,
    made_at
FROM (
    SELECT
        number,
        now()
        - interval '1 year'
        + number * (interval '1 year' / %(tasks)s)
        + random() * interval '1 millisecond' AS made_at
    FROM generate_series(1, %(tasks)s) AS numbers (number)
) AS made;

RESET session_replication_role;
