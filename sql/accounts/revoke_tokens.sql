-- Make all tokens invalid that were issued to the user until now.
-- @param user_id uuid
-- @return tokens_not_before: since when tokens are valid
INSERT INTO revocations (user_id, tokens_not_before)
VALUES (%(user_id)s, now())
ON CONFLICT (user_id) DO UPDATE
SET tokens_not_before = greatest(excluded.tokens_not_before, revocations.tokens_not_before)
RETURNING tokens_not_before;
