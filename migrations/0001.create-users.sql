-- Accounts. An address is kept as it was typed and is unique without regard to case.

CREATE TABLE IF NOT EXISTS users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_check CHECK (char_length(email) <= 254 AND email ~ '^[^@\s]+@[^@\s]+$')
);

CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON users (lower(email));
