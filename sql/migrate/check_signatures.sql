-- Tell how identities are checked.
-- @return accepts_unsigned, keys: how many there are
SELECT
    accepts_unsigned,
    (SELECT count(inner_pad) FROM identity_keys) AS keys
FROM identity_settings;
