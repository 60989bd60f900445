-- Add a key that identities may be signed with.
-- @param inner_pad bytea
-- @param outer_pad bytea
-- @return added_at; no row: it was there
INSERT INTO identity_keys (inner_pad, outer_pad)
VALUES (%(inner_pad)s, %(outer_pad)s)
ON CONFLICT DO NOTHING
RETURNING added_at;
