-- Tasks, each of one user, gone with the user.

CREATE TABLE IF NOT EXISTS tasks (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    title text NOT NULL,
    description text,
    completed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    -- No white space at the ends, all of Unicode's spelled out: what \s or [[:space:]]
    -- stand for depends on the database's locale.
    CONSTRAINT tasks_title_check CHECK (
        char_length(title) BETWEEN 1 AND 500
        AND title = btrim(
            title,
            E' \t\n\x0B\f\r\x1C\x1D\x1E\x1F\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004'
            '\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000'
        )
    ),
    CONSTRAINT tasks_description_check CHECK (char_length(description) <= 10000)
);

-- Serves every list of a user's tasks in its order, without a sort.
CREATE INDEX IF NOT EXISTS tasks_user_id_created_at_id_idx
    ON tasks (user_id, created_at DESC, id DESC);

-- updated_at is the database's to keep, for an UPDATE typed by hand too.
CREATE OR REPLACE FUNCTION tasks_set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER tasks_set_updated_at
    BEFORE UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION tasks_set_updated_at();
