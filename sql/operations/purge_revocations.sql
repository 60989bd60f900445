-- Delete up to 1,000 revocations that are older than any token that is still valid. Those of closed
-- and deleted accounts stay.
-- @param token_lifetime double precision: for how many seconds a token is valid
-- @return deleted_rows: how many
WITH deleted AS (
    DELETE FROM revocations
    WHERE user_id IN (
        SELECT user_id
        FROM revocations
        WHERE tokens_not_before < now() - make_interval(secs => %(token_lifetime)s)
        ORDER BY user_id
        LIMIT 1000
    )
    RETURNING user_id
)
SELECT count(user_id) AS deleted_rows
FROM deleted;
