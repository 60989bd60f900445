-- Create an account. A taken address, whatever its case, violates users_email_key.
INSERT INTO users (email, password_hash)
VALUES (%(email)s, %(password_hash)s)
RETURNING id, email;
