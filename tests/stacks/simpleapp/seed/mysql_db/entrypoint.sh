# What the official image does with `command: --option`: it is for the server. MariaDB stands in for MySQL 8, and does not
# know one of the seed's options.
case ${1:-} in -*) set -- mariadbd "$@" ;; esac
for argument; do
    shift
    case $argument in --default-authentication-plugin=*) ;; *) set -- "$@" "$argument" ;; esac
done
exec docker-entrypoint.sh "$@"
