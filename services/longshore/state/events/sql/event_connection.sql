-- name: insert_connection
-- Stores a connection; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 id
-- $3 description
-- $4 type
-- $5 parameters, less what is secret
-- $6 what is secret, encrypted
INSERT INTO event_connections (name, connection_id, description, authorization_type, parameters, secret)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING name, connection_id, description, authorization_type, parameters, secret, state, created_at, changed_at,
    authorized_at;

-- name: lock_connection
-- A connection, held still until the transaction ends.
-- $1 name
SELECT name, connection_id, description, authorization_type, parameters, secret, state, created_at, changed_at,
    authorized_at
FROM event_connections WHERE name = $1 FOR UPDATE;

-- name: keep_connection
-- A connection, kept from being deleted until the transaction ends.
-- $1 name
SELECT connection_id FROM event_connections WHERE name = $1 FOR KEY SHARE;

-- name: read_connection
-- $1 name
SELECT name, connection_id, description, authorization_type, parameters, secret, state, created_at, changed_at,
    authorized_at
FROM event_connections WHERE name = $1;

-- name: update_connection
-- $1 name
-- $2 description
-- $3 type
-- $4 parameters, less what is secret
-- $5 what is secret, encrypted
-- $6 state
-- $7 whether its secrets are others
UPDATE event_connections SET description = $2, authorization_type = $3, parameters = $4, secret = $5, state = $6,
    changed_at = now(), authorized_at = CASE WHEN $7 THEN now() ELSE authorized_at END
WHERE name = $1
RETURNING name, connection_id, description, authorization_type, parameters, secret, state, created_at, changed_at,
    authorized_at;

-- name: delete_connection
-- $1 name
DELETE FROM event_connections WHERE name = $1;

-- name: list_connections
-- Connections, in order of their names.
-- $1 with what their names begin
-- $2 state, NULL for any
-- $3 only those after this name
-- $4 how many at most
SELECT name, connection_id, description, authorization_type, parameters, secret, state, created_at, changed_at,
    authorized_at
FROM event_connections
WHERE starts_with(name, $1) AND ($2::text IS NULL OR state = $2) AND name > $3 ORDER BY name LIMIT $4;

-- name: count_connections
SELECT count(*) FROM event_connections;

-- name: destination_of_connection
-- An API destination that uses a connection.
-- $1 connection
SELECT name FROM event_api_destinations WHERE connection = $1 ORDER BY name LIMIT 1;

-- name: insert_destination
-- Stores an API destination; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 id
-- $3 description
-- $4 connection
-- $5 endpoint
-- $6 HTTP method
-- $7 calls in a second
WITH made AS (
    INSERT INTO event_api_destinations (name, destination_id, description, connection, endpoint, http_method, rate_limit)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING RETURNING *
)
SELECT d.name, d.destination_id, d.description, d.connection, c.connection_id, d.endpoint, d.http_method, d.rate_limit,
    d.state, d.created_at, d.changed_at
FROM made d JOIN event_connections c ON c.name = d.connection;

-- name: lock_destination
-- An API destination, held still until the transaction ends.
-- $1 name
SELECT d.name, d.destination_id, d.description, d.connection, c.connection_id, d.endpoint, d.http_method, d.rate_limit,
    d.state, d.created_at, d.changed_at
FROM event_api_destinations d JOIN event_connections c ON c.name = d.connection WHERE d.name = $1 FOR UPDATE OF d;

-- name: read_destination
-- $1 name
SELECT d.name, d.destination_id, d.description, d.connection, c.connection_id, d.endpoint, d.http_method, d.rate_limit,
    d.state, d.created_at, d.changed_at
FROM event_api_destinations d JOIN event_connections c ON c.name = d.connection WHERE d.name = $1;

-- name: update_destination
-- $1 name
-- $2 description
-- $3 connection
-- $4 endpoint
-- $5 HTTP method
-- $6 calls in a second
UPDATE event_api_destinations SET description = $2, connection = $3, endpoint = $4, http_method = $5, rate_limit = $6,
    state = 'ACTIVE', changed_at = now()
WHERE name = $1;

-- name: delete_destination
-- Deletes an API destination; returns no row if there is none.
-- $1 name
DELETE FROM event_api_destinations WHERE name = $1 RETURNING name;

-- name: list_destinations
-- API destinations, in order of their names.
-- $1 with what their names begin
-- $2 connection, NULL for any
-- $3 only those after this name
-- $4 how many at most
SELECT d.name, d.destination_id, d.description, d.connection, c.connection_id, d.endpoint, d.http_method, d.rate_limit,
    d.state, d.created_at, d.changed_at
FROM event_api_destinations d JOIN event_connections c ON c.name = d.connection
WHERE starts_with(d.name, $1) AND ($2::text IS NULL OR d.connection = $2) AND d.name > $3 ORDER BY d.name LIMIT $4;

-- name: count_destinations
SELECT count(*) FROM event_api_destinations;
