-- List some of the accounts that are closed and not deleted yet, the oldest first.
-- @return id
SELECT user_id AS id
FROM closed_accounts
ORDER BY closed_at
LIMIT 100;
