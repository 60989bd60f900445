-- Tasks by their ids, each as the API shows it.
SELECT
    id::text,
    jsonb_build_object(
        'id', id,
        'user_id', user_id,
        'title', title,
        'description', description,
        'completed', completed,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    ) AS task
FROM tasks
WHERE id = ANY(%(ids)s::uuid[]);
