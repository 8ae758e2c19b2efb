-- name: stack_id
SELECT stack_id FROM stack
