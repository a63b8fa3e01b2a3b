//! What `--help` and `--version` print.

pub(super) fn version() -> String {
    format!("chandlery-entrypoint {}\n", env!("CARGO_PKG_VERSION"))
}

pub(super) fn text() -> String {
    HELP.to_owned()
}

const HELP: &str = "\
Gives a container its secrets and its environment, waits for what it needs, and becomes its app.

Usage: chandlery-entrypoint [options] -- command [arguments]
       chandlery-entrypoint wait [options] [command]      only waits, as docker-compose-wait does: see wait --help
       chandlery-entrypoint env -- command [arguments]    in the running app's environment: docker exec, health checks

Every option has a variable, and beats it. No CHANDLERY_ variable reaches the app.
  --addr URL           CHANDLERY_ADDR         https://host[:8420], unix:///path, or http:// on loopback
                       CHANDLERY_TOKEN        the token; better in a file:
  --token-file PATH    CHANDLERY_TOKEN_FILE   default: $CREDENTIALS_DIRECTORY/chandlery-token,
                                              then /run/secrets/chandlery_token
  --cacert PATH        CHANDLERY_CACERT       the server's CA: a path, or the PEM itself
  --fingerprint PIN    CHANDLERY_FINGERPRINT  or sha256:<hex> of the CA's certificate
  --stack NAME         CHANDLERY_STACK        required; on unix:// and without a token the server knows it
  --environment NAME   CHANDLERY_ENVIRONMENT  likewise
  --region NAME        CHANDLERY_REGION       where the environment has regions; else what /etc/chandlery/region says;
                                              auto: that, or the cloud (EC2, DigitalOcean); base: none
                       CHANDLERY_REGION_FILE  in the place of /etc/chandlery/region
                       CHANDLERY_METADATA     of the cloud [http://169.254.169.254]
  --node NAME          CHANDLERY_NODE         the machine, whose region the server knows: {{.Node.Hostname}}
  --service NAME       CHANDLERY_SERVICE      which service of the stack this is
  --secrets-dir PATH   CHANDLERY_SECRETS_DIR  where files are placed, in memory [/run/secrets]
  --timeout TIME       CHANDLERY_TIMEOUT      for the fetch with all its tries [30s]; 500ms, 5s, 2m
  --user NAME[:GROUP]  CHANDLERY_USER         run the app as this user; names or numbers
  --allow-disk         CHANDLERY_ALLOW_DISK   place files though the directory is not in memory
  --allow-name NAMES   CHANDLERY_ALLOW_NAMES  let the bundle set dangerous variables, such as PATH
  --preserve NAMES     CHANDLERY_PRESERVE     keep the inherited value of these variables
  --pristine           CHANDLERY_PRISTINE     inherit only PATH, HOME, HOSTNAME, USER, LOGNAME, TERM, TZ, LANG, LC_*
  --expand-files[=X,Y] CHANDLERY_EXPAND_FILES fill X from the file that an inherited X_FILE names: those in
                                              /run/secrets, or these names wherever they point
  --cache DIR          CHANDLERY_CACHE        keep a sealed copy of the bundle here, for when the server is away
  --cache-max-age AGE  CHANDLERY_CACHE_MAX_AGE  how old a copy may be [24h]; 12h, 7d
  --watch              CHANDLERY_WATCH        stay as the app's parent, and switch the files when the bundle changes
  --on-change WHAT     CHANDLERY_ON_CHANGE    and then: signal:HUP, restart, exec:COMMAND, or none [none]
  --splay TIME         CHANDLERY_SPLAY        both at a random moment within this time [0]
  --health URL         CHANDLERY_HEALTH       what has to be ready after a restart; if not, the old set comes back
  --health-timeout TIME CHANDLERY_HEALTH_TIMEOUT  within this time [30s]; without --health it has to stay up so long [5s]
  --stop-timeout TIME  CHANDLERY_STOP_TIMEOUT between SIGTERM and SIGKILL of a restart [10s]
  --verbose            CHANDLERY_VERBOSE      say on stderr where each value came from
  --format json        CHANDLERY_LOG_FORMAT   progress as lines of JSON
  --explain                                   show what a start would get, secrets masked, and start nothing
  --help, --version

Waiting, set here or in the bundle; docs/WAITING.md has all of it:
  --wait URL           WAIT_HOSTS             db:3306,postgres://pg,http://web/healthz: start when all are ready;
                                              --wait adds to it and may be repeated (also: -wait, as in dockerize)
                       WAIT_PATHS             and when these paths exist
  --wait-timeout TIME  WAIT_TIMEOUT           for all of it [30s] (also: -timeout, with one dash)
  --wait-retry-interval TIME  WAIT_SLEEP_INTERVAL  between attempts [10ms after a refusal]
  --wait-http-header \"Name: value\"            for every http and https URL
                       WAIT_HOST_CONNECT_TIMEOUT  for one attempt to connect, and again to answer [5s]
                       WAIT_BEFORE, WAIT_AFTER    sleep this long first, and last [0]
                       WAIT_CACERT            the CA of https, rediss and amqps: a path, or the PEM itself
  URLs: tcp, tcp4, tcp6, unix, file, http, https, postgres, mysql, redis, rediss, amqp, amqps, memcached

Exit codes: the app's own, once it runs. Before that:
    1  a defect of this program        7  the environment would be dangerous or too large
    2  an option or variable is wrong  8  the server is not the one to be trusted
    3  no answer before the deadline   124  what is waited for was not ready in time
    4  the server refused              126  the command cannot be executed
    5  there is no such bundle         127  the command was not found
    6  files cannot be placed          128+n  ended by signal n
";
