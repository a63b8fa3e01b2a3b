//! Which values look like secrets, and why. A guess errs on the side of a secret: one that is shown is worse than a plain
//! value that is masked. The user has the last word.

/// Parts of a name that say "secret".
const SECRET: [&str; 26] = [
    "PASSWORD",
    "PASSWD",
    "PASSWORT",
    "PASS",
    "PWD",
    "PW",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "PASSPHRASE",
    "PASSCODE",
    "CREDENTIAL",
    "CREDENTIALS",
    "APIKEY",
    "SECRETKEY",
    "PRIVATEKEY",
    "PRIVKEY",
    "ACCESSKEY",
    "AUTHKEY",
    "MASTERKEY",
    "HMACKEY",
    "ENCRYPTIONKEY",
    "SIGNINGKEY",
    "SALT",
    "PEPPER",
    "PIN",
];
/// What a `…_KEY` is not: anything to hide.
const PUBLIC_KEY: [&str; 8] = ["PUBLIC", "PRIMARY", "FOREIGN", "SORT", "PARTITION", "CACHE", "ROUTING", "PUBLISHABLE"];
/// Last parts of a name that speak about a secret and are none.
const ABOUT: [&str; 34] = [
    "FILE",
    "PATH",
    "DIR",
    "LENGTH",
    "SIZE",
    "TTL",
    "AGE",
    "EXPIRY",
    "EXPIRES",
    "EXPIRATION",
    "LIFETIME",
    "TIMEOUT",
    "ENABLED",
    "ENABLE",
    "DISABLED",
    "REQUIRED",
    "NAME",
    "ID",
    "HEADER",
    "ISSUER",
    "ALGORITHM",
    "ALG",
    "TYPE",
    "MIN",
    "MAX",
    "POLICY",
    "URL",
    "URI",
    "ENDPOINT",
    "HOST",
    "USER",
    "COUNT",
    "ROUNDS",
    "PREFIX",
];
/// What `…_AUTH` holds a user and a password for.
const AUTHENTICATES: [&str; 7] = ["REDIS", "BASIC", "HTTP", "PROXY", "REGISTRY", "DOCKER", "NEO4J"];
/// Words that end as `DBPASS` does and mean something else.
const PASSES: [&str; 6] = ["BYPASS", "COMPASS", "OVERPASS", "UNDERPASS", "TRESPASS", "SURPASS"];
/// How the hash of a password begins, as crypt(3) and its likes write it. It can be tried against at leisure.
const HASHES: [&str; 7] = ["$2a$", "$2b$", "$2y$", "$5$", "$6$", "$apr1$", "$argon2"];
/// Addresses that whoever knows them may post to.
const WEBHOOKS: [&str; 3] = ["hooks.slack.com/services/", "discord.com/api/webhooks/", "discordapp.com/api/webhooks/"];
/// Names whose values only look random.
const DIGESTS: [&str; 10] =
    ["SHA", "SHA1", "SHA256", "COMMIT", "REVISION", "DIGEST", "CHECKSUM", "VERSION", "BUILD", "FINGERPRINT"];
/// What tokens of well-known makers start with.
const TOKENS: [&str; 16] = [
    "chd_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "rk_live_",
    "sk-",
    "hvs.",
    "dop_v1_",
    "SG.",
    "AIza",
    "npm_",
];

/// Why this is a secret; `None` where it does not look like one.
#[must_use]
pub fn why_secret(name: &str, value: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(value) else { return Some("its value is binary".to_owned()) };
    let text = text.trim();
    if says_nothing(text) {
        return None;
    }
    secret_by_name(name).or_else(|| secret_by_value(name, text))
}

/// Why a value is a secret, whatever its own name, that was made from another variable's.
#[must_use]
pub fn why_source(source: &str, value: &[u8]) -> Option<String> {
    let hides = std::str::from_utf8(value).is_ok_and(|text| !says_nothing(text.trim()));
    hides.then(|| secret_by_name(source)).flatten().map(|_| format!("it comes from ${{{source}}}"))
}

/// A switch, or nothing: ALLOW_EMPTY_PASSWORD=yes.
fn says_nothing(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1" | "null" | "none"
    ) || text.starts_with("/run/secrets/")
}

/// Whether a name is that of an address, which is a secret once it has a password in it. Who asks knows no value yet.
#[must_use]
pub fn is_address(name: &str) -> bool {
    parts(name).last().is_some_and(|last| matches!(last.as_str(), "URL" | "URI" | "DSN"))
}

/// Why the name alone says that it is a secret.
#[must_use]
pub fn secret_by_name(name: &str) -> Option<String> {
    let parts = parts(name);
    let last = parts.last()?.as_str();
    if ABOUT.contains(&last) || matches!(name, "PWD" | "OLDPWD") {
        return None;
    }
    let known = parts.iter().find(|part| SECRET.contains(&part.as_str()));
    if let Some(part) = known {
        return Some(format!("its name has {part}"));
    }
    // SECRET_KEY_BASE has SECRET; MASTER_KEY, API_KEY and ENCRYPTION_KEY only end so.
    let before = parts.len().checked_sub(2).and_then(|at| parts.get(at));
    let key = matches!(last, "KEY" | "KEYS") && before.is_some_and(|part| !PUBLIC_KEY.contains(&part.as_str()));
    let joined = ["PASSWORD", "PASSWD", "PASS", "APIKEY", "SECRET"].iter().find(|word| last.ends_with(**word));
    let joined = joined.filter(|_| !PASSES.contains(&last));
    let auth = last == "AUTH" && before.is_some_and(|part| AUTHENTICATES.contains(&part.as_str()));
    match (key, joined) {
        _ if auth => Some("its name ends with AUTH".to_owned()),
        (true, _) => Some("its name ends with KEY".to_owned()),
        (false, Some(word)) => Some(format!("its name ends with {word}")),
        (false, None) => None,
    }
}

/// `DB_PASSWORD`, `db.password`, `dbPassword` and `db-password` have the same parts.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            parts.push(String::new());
        } else {
            if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
                parts.push(String::new());
            }
            parts.iter_mut().last().into_iter().for_each(|part| part.push(c.to_ascii_uppercase()));
        }
        before = c;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn secret_by_value(name: &str, text: &str) -> Option<String> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("it is a private key in PEM".to_owned());
    }
    if has_password(text) {
        return Some("it is an address with a password".to_owned());
    }
    if HASHES.iter().any(|prefix| text.starts_with(prefix) && text.len() >= 20) {
        return Some("it is a password's hash".to_owned());
    }
    if WEBHOOKS.iter().any(|address| text.contains(address)) {
        return Some("it is the address of a webhook".to_owned());
    }
    if TOKENS.iter().any(|prefix| text.starts_with(prefix) && text.len() >= prefix.len() + 12)
        || (text.starts_with("eyJ") && text.matches('.').count() == 2)
    {
        return Some("it has the form of a well-known token".to_owned());
    }
    let digest = parts(name).iter().any(|part| DIGESTS.contains(&part.as_str()));
    (!digest && is_random(text)).then(|| "its value looks random".to_owned())
}

/// `scheme://user:password@host`, Go's `user:password@tcp(host)`, and `password=…` of libpq and ADO.
fn has_password(text: &str) -> bool {
    let in_url = text.split_whitespace().any(|word| {
        let Some((_, rest)) = word.split_once("://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
    });
    let in_dsn = text.split_once('@').is_some_and(|(user, rest)| {
        (rest.starts_with("tcp(") || rest.starts_with("unix("))
            && user.split_once(':').is_some_and(|(_, word)| !word.is_empty())
    });
    let lower = text.to_ascii_lowercase();
    let in_pairs = ["password=", "pwd="].iter().any(|key| {
        let value = lower.split(key).nth(1);
        value.is_some_and(|rest| rest.starts_with(|c: char| !matches!(c, ' ' | ';' | '&' | '$')))
    });
    in_url || in_dsn || in_pairs
}

/// A long run of letters and digits that changes its kind of character more often than words do.
fn is_random(text: &str) -> bool {
    let kind = |c: char| match c {
        '0'..='9' => 1,
        'a'..='z' => 2,
        'A'..='Z' => 3,
        _ => 4,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    if text.len() < 20 || text.starts_with('/') || !text.chars().all(allowed) {
        return false;
    }
    // A UUID names things.
    if text.len() == 36 && text.bytes().enumerate().all(|(at, c)| (c == b'-') == matches!(at, 8 | 13 | 18 | 23)) {
        return false;
    }
    // Dashes and underscores separate words; in what is random they are rare enough not to be missed.
    let letters: Vec<u8> = text.chars().filter(|c| !matches!(c, '-' | '_')).map(kind).collect();
    let changes = letters.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let digits = text.chars().any(|c| c.is_ascii_digit());
    digits && changes * 4 >= text.len() && entropy(text) > 3.0
}

/// Shannon's, in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let share = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    -share.map(|share| share * share.log2()).sum::<f64>()
}

/// Why the words of a command look as if one of them were a secret.
#[must_use]
pub fn why_words(words: &[String]) -> Option<String> {
    const FLAGS: [&str; 7] =
        ["--password", "--pass", "--requirepass", "--masterauth", "--token", "--secret", "--api-key"];
    for (at, word) in words.iter().enumerate() {
        let (flag, value) = word
            .split_once('=')
            .map_or((word.as_str(), words.get(at + 1).map(String::as_str)), |(flag, value)| (flag, Some(value)));
        if FLAGS.contains(&flag) && value.is_some_and(|value| !value.is_empty() && !value.starts_with('-')) {
            return Some(format!("the option {flag}"));
        }
        if has_password(word) {
            return Some("an address with a password".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_value_may_become_a_secret() {
        assert!(["DATABASE_URL", "MONGO_URI", "SENTRY_DSN"].into_iter().all(is_address));
        assert!(!["URL_PREFIX", "WEB_CONCURRENCY", "CURL"].into_iter().any(is_address));
    }

    #[test]
    fn names_and_values_that_say_secret_are_taken_for_one() {
        let secrets = [
            ("MYSQL_ROOT_PASSWORD", "x"),
            ("DB_PWD", "toor"),
            ("DB_PASS", "x"),
            ("PGPASSWORD", "x"),
            ("SECRET_KEY_BASE", "x"),
            ("API_KEY", "x"),
            ("RAILS_MASTER_KEY", "x"),
            ("GITHUB_TOKEN", "x"),
            ("spring.datasource.password", "x"),
            ("dbPassword", "x"),
            ("DATABASE_URL", "postgres://app:hunter2@db/app?x=1"),
            ("REDIS_URL", "redis://:hunter2@cache:6379/0"),
            ("DSN", "root:hunter2@tcp(db:3306)/simple_db"),
            ("CONN", "Server=db;User=sa;Password=hunter2;"),
            ("CERT", "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n"),
            ("STRIPE", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
            ("SESSION", "c2VjcmV0LXRoYXQtaXMtNDgtYnl0ZXM9PT0xMjM0"),
            ("SIGNING", "9f86d081884c7d659a2feaa0c55ad015"),
            ("DBPASS", "x"),
            ("PGPASS", "x"),
            ("MINIO_ACCESSKEY", "x"),
            ("TLS_PRIVKEY", "x"),
            ("REDIS_AUTH", "x"),
            ("HTTP_AUTH", "u:p"),
            ("ALERTS", "https://hooks.slack.com/services/T0/B0/x"),
            ("ADMIN", "$2y$05$abcdefghijklmnopqrstuv"),
        ];
        for (name, value) in secrets {
            assert!(why_secret(name, value.as_bytes()).is_some(), "{name}");
        }
        assert!(why_secret("X", b"\xff\xfe").is_some());
    }

    #[test]
    fn what_only_speaks_of_secrets_is_plain() {
        let plain = [
            ("MYSQL_ROOT_PASSWORD_FILE", "/run/secrets/mysql_password"),
            ("ALLOW_EMPTY_PASSWORD", "yes"),
            ("PASSWORD_MIN", "12"),
            ("TOKEN_TTL", "3600"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("PWD", "/app"),
            ("TZ", "Asia/Singapore"),
            ("WAIT_HOSTS", "db:3306"),
            ("MYSQL_DATABASE", "simple_db"),
            ("DATABASE_URL", "postgres://db/app"),
            ("PUBLIC_KEY", "x"),
            ("KEY", "x"),
            ("GIT_SHA", "9f86d081884c7d659a2feaa0c55ad0159f86d081"),
            ("CLUSTER", "production-eu-west-1-cluster-two"),
            ("TRACE_ID", "123e4567-e89b-12d3-a456-426614174000"),
            ("IMAGE", "registry.example/app:1.2.3-20200101"),
            ("COMPASS", "north"),
            ("BYPASS_CACHE", "some"),
            ("PROXY_BYPASS", "localhost"),
            ("AUTH", "ldap"),
            ("PRICE", "$5"),
            ("JAVA_OPTS", "-Xmx512m -XX:+UseG1GC"),
            ("DB_PASSWORD", ""),
        ];
        for (name, value) in plain {
            assert_eq!(why_secret(name, value.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn what_comes_from_a_secret_is_one() {
        assert_eq!(why_source("ADMIN_PASSWORD", b"x").as_deref(), Some("it comes from ${ADMIN_PASSWORD}"));
        for (source, value) in [("ADMIN_NAME", "x"), ("ALLOW_EMPTY_PASSWORD", "yes"), ("DB_PASSWORD", "")] {
            assert_eq!(why_source(source, value.as_bytes()), None, "{source}");
        }
    }

    #[test]
    fn a_password_in_a_command_is_seen() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(why_words(&words("redis-server --requirepass hunter2")).is_some());
        assert!(why_words(&words("app --token=hunter2")).is_some());
        assert!(why_words(&words("app --db postgres://a:b@c/d")).is_some());
        assert_eq!(why_words(&words("mysqld --default-authentication-plugin=mysql_native_password")), None);
        assert_eq!(why_words(&words("redis-server --port 6379")), None);
    }
}
