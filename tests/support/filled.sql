-- A database as it is after a while: 20,000 users with a few tasks each, twenty with 500, one with
-- 100,000; about 270,000 tasks, made in the course of a year, in the order of their time.

INSERT INTO users (email, password_hash, created_at)
SELECT
    'user' || number || '@example.com',
    '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('x', 66),
    timestamptz '2025-01-01' + number * interval '1 minute'
FROM generate_series(1, 20000) AS number;

-- Without the triggers, which would set all times to now.
SET session_replication_role = replica;

INSERT INTO tasks (
    user_id, title, description, completed, completed_at, created_at, updated_at,
    due_on, priority, labels, position
)
SELECT
    user_id, title, description, is_completed,
    CASE WHEN is_completed THEN updated_at END,
    made_at, updated_at,
    -- One task in three is due on a day, and one in three has a position.
    CASE WHEN number % 3 = 0 THEN (made_at + interval '30 days')::date END,
    number % 10,
    CASE WHEN number % 5 = 0 THEN ARRAY['label ' || number % 7, 'another'] ELSE '{}' END,
    CASE WHEN number % 3 = 1 THEN 'a' || left(md5(number::text), 4) END
FROM (
    SELECT
        users.id AS user_id,
        number,
        'Task ' || number || ' of ' || users.email AS title,
        CASE
            WHEN random() < 0.5 THEN repeat('What is to be done. ', (random() * 20)::integer)
        END AS description,
        random() < 0.7 AS is_completed,
        timestamptz '2026-01-01' + random() * interval '365 days' AS made_at,
        timestamptz '2026-01-01' + random() * interval '365 days' AS updated_at
    FROM users
    CROSS JOIN LATERAL generate_series(
        1,
        CASE
            WHEN users.email = 'user1@example.com' THEN 100000
            WHEN users.created_at <= timestamptz '2025-01-01 00:20' THEN 500
            ELSE 2 + abs(hashtext(users.email)) % 13
        END
    ) AS number
) AS made
ORDER BY made_at;

-- One task in ten was deleted in the last months.
INSERT INTO deleted_tasks (user_id, id, deleted_at)
SELECT user_id, gen_random_uuid(), now() - random() * interval '32 days'
FROM tasks
WHERE random() < 0.1;

INSERT INTO clocks (user_id, at, advanced_by, tasks)
SELECT user_id, max(updated_at), pg_current_xact_id(), count(*)
FROM tasks
GROUP BY user_id;

-- The keys of one in four tasks, one in ten of them expired. The user with very many tasks has about
-- as many keys as a user can have.
INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at)
SELECT user_id, id::text, sha256(''), id, now() - random() * interval '26.7 hours' AS made_at
FROM tasks
WHERE random() < CASE
    WHEN user_id = (SELECT id FROM users WHERE email = 'user1@example.com') THEN 0.1
    ELSE 0.25
END
ORDER BY made_at;

-- A few users have logged out everywhere or closed their accounts.
INSERT INTO revocations (user_id, tokens_not_before)
SELECT id, now() - random() * interval '90 days'
FROM users
WHERE id < '01000000-0000-0000-0000-000000000000';

INSERT INTO closed_accounts (user_id, closed_at)
SELECT id, now() - random() * interval '1 hour'
FROM users
WHERE id > 'ff000000-0000-0000-0000-000000000000';

RESET session_replication_role;

-- Addresses that are being guessed at, of which a few count no more: each login sweeps some away.
INSERT INTO login_attempts (key, tried_at, expires_at)
SELECT
    'address:' || md5(number::text),
    array_fill(now(), ARRAY[5]),
    now() + random() * interval '2 hours' - interval '1 minute'
FROM generate_series(1, 20000) AS numbers (number);
