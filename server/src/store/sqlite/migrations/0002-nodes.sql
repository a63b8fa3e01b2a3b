-- Machines, each in its region, and tokens that are bound to one. docs/FORMAT.md explains every column.

CREATE TABLE nodes (
    name     TEXT    NOT NULL PRIMARY KEY,
    region   TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    author   TEXT    NOT NULL,
    mac      BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE tokens ADD COLUMN node TEXT;
