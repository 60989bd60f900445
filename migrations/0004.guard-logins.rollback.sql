DROP TABLE IF EXISTS login_attempts;
ALTER TABLE users ALTER COLUMN password_hash SET NOT NULL;
UPDATE users SET password_hash = '!' WHERE password_hash IS NULL;
