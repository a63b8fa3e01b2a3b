-- Containers that need no token. docs/FORMAT.md explains every column.

CREATE TABLE openings (
    stack       TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    project     TEXT    NOT NULL,
    images      TEXT    NOT NULL,
    allow_exec  INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    author      TEXT    NOT NULL,
    mac         BLOB    NOT NULL,
    PRIMARY KEY (stack, environment, project),
    FOREIGN KEY (stack, environment) REFERENCES environments (stack, name)
) STRICT, WITHOUT ROWID;
