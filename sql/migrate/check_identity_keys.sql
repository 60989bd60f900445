-- Tell whether identities are signed.
-- @return keys: with how many different ones they may be; are_required: whether they must be
SELECT
    count(inner_pad) AS keys,
    coalesce(bool_or(is_required), FALSE) AS are_required
FROM identity_keys;
