-- Add a key that identities may be signed with.
-- @param inner_pad bytea
-- @param outer_pad bytea
-- @param is_required boolean: whether identities must be signed from now on
-- @return is_required
INSERT INTO identity_keys (inner_pad, outer_pad, is_required)
VALUES (%(inner_pad)s, %(outer_pad)s, %(is_required)s)
ON CONFLICT (inner_pad) DO UPDATE SET is_required = excluded.is_required
RETURNING is_required;
