#!/bin/sh
# What the official MySQL and MariaDB images do at their first start, as far as the test's stack needs it:
# MYSQL_ROOT_PASSWORD or MYSQL_ROOT_PASSWORD_FILE, MYSQL_DATABASE, and the scripts of /docker-entrypoint-initdb.d.
set -eu

data=/var/lib/mysql
share=/usr/share/mysql

if [ -n "${MYSQL_ROOT_PASSWORD:-}" ] && [ -n "${MYSQL_ROOT_PASSWORD_FILE:-}" ]; then
    echo "error: both MYSQL_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD_FILE are set" >&2
    exit 1
fi
if [ -n "${MYSQL_ROOT_PASSWORD_FILE:-}" ]; then
    # Not $(cat): that would forgive a newline too many, which the apps do not.
    password=$(cat "$MYSQL_ROOT_PASSWORD_FILE"; printf x)
    password=${password%x}
else
    password=${MYSQL_ROOT_PASSWORD:?neither MYSQL_ROOT_PASSWORD nor MYSQL_ROOT_PASSWORD_FILE is set}
fi

mkdir -p /run/mysqld
chown -R mysql:mysql /run/mysqld "$data"

# Everything goes through a pipe: no password in a file or in an argument. One statement a line, as --bootstrap wants it.
first_start() {
    printf '%s\n' "CREATE DATABASE IF NOT EXISTS mysql;" "USE mysql;" "SET @auth_root_socket=NULL;"
    cat "$share"/mysql_system_tables.sql "$share"/mysql_performance_tables.sql \
        "$share"/mysql_system_tables_data.sql "$share"/maria_add_gis_sp_bootstrap.sql
    quoted=$(printf '%s' "$password" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g"; printf x)
    quoted=${quoted%x}
    echo "FLUSH PRIVILEGES;"
    for host in localhost %; do
        printf '%s\n' "CREATE OR REPLACE USER root@'$host' IDENTIFIED BY '$quoted';"
        printf '%s\n' "GRANT ALL ON *.* TO root@'$host' WITH GRANT OPTION;"
    done
    if [ -n "${MYSQL_DATABASE:-}" ]; then
        printf '%s\n' "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;" "USE \`$MYSQL_DATABASE\`;"
        for script in /docker-entrypoint-initdb.d/*.sql; do
            [ -e "$script" ] && cat "$script"
        done
    fi
}

# The mark, and not the folder of the system tables: a start that was cut short is made again.
if [ ! -e "$data/made" ]; then
    echo "first start: making the database"
    first_start | mariadbd --no-defaults --bootstrap --user=mysql --datadir="$data" --lc-messages-dir="$share"
    touch "$data/made"
fi
unset password
exec "$@" --user=mysql --datadir="$data" --lc-messages-dir="$share" --bind-address=0.0.0.0
