-- Change the title, and the description too where the client sent one (T060);
-- completed stays as it is (T054).
UPDATE tasks
SET title = %(title)s,
    description = CASE WHEN %(set_description)s THEN %(description)s ELSE description END
WHERE user_id = %(user_id)s
    AND id = %(id)s
RETURNING id, user_id, title, description, completed, created_at, updated_at;
