-- The first schema. docs/FORMAT.md explains every column.

-- Always one row.
CREATE TABLE store (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO store (one, revision) VALUES (1, 0);

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id          INTEGER NOT NULL PRIMARY KEY,
    purpose     TEXT    NOT NULL,
    wrapped     BLOB    NOT NULL,
    created     INTEGER NOT NULL,
    encryptions INTEGER NOT NULL
) STRICT;

CREATE TABLE stacks (
    name     TEXT NOT NULL PRIMARY KEY,
    services TEXT NOT NULL,
    mac      BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE environments (
    stack   TEXT NOT NULL REFERENCES stacks (name),
    name    TEXT NOT NULL,
    regions TEXT NOT NULL,
    mac     BLOB NOT NULL,
    PRIMARY KEY (stack, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE layers (
    id          INTEGER NOT NULL PRIMARY KEY,
    stack       TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    layer       TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    manifest    BLOB    NOT NULL,
    UNIQUE (stack, environment, layer),
    FOREIGN KEY (stack, environment) REFERENCES environments (stack, name)
) STRICT;

-- What is current, apart from what is past: a layer is one range of one b-tree, however long its history is.
CREATE TABLE current_entries (
    layer_id   INTEGER NOT NULL REFERENCES layers (id),
    name       TEXT    NOT NULL,
    grant      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    attributes TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    author     TEXT    NOT NULL,
    previous   BLOB    NOT NULL,
    sealed     BLOB    NOT NULL,
    PRIMARY KEY (layer_id, name, grant)
) STRICT, WITHOUT ROWID;

CREATE TABLE past_entries (
    layer_id   INTEGER NOT NULL REFERENCES layers (id),
    name       TEXT    NOT NULL,
    grant      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    attributes TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    author     TEXT    NOT NULL,
    previous   BLOB    NOT NULL,
    sealed     BLOB    NOT NULL,
    PRIMARY KEY (layer_id, name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id          TEXT    NOT NULL PRIMARY KEY,
    hash        BLOB    NOT NULL UNIQUE,
    description TEXT    NOT NULL,
    verbs       TEXT    NOT NULL,
    scopes      TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    expires     INTEGER,
    uses_left   INTEGER,
    revoked     INTEGER,
    mac         BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
