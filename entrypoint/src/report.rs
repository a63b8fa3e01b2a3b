//! What people look at: where each value came from. A secret is always masked.

use std::io::Write as _;
use std::path::Path;

use chandlery_wire::{Bundle, Origin, Value};

use crate::config::Config;
use crate::environ::Environment;
use crate::failure::{Failure, printable, say};

/// The same length for every secret: a mask must not tell how long the secret is.
const MASK: &str = "********";
/// The most characters of a plain value.
const MOST_SHOWN: usize = 48;

/// Prints what was asked for on stdout. A reader that has gone away is no failure.
#[expect(clippy::unnecessary_wraps, reason = "main treats all requests alike")]
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// For `--verbose`: a line on stderr for each variable and file, names and origins only.
pub(crate) fn summary(config: &Config, bundle: &Bundle, environment: &Environment) {
    say(&title(config, bundle));
    let rows = rows(config, bundle, environment);
    let widest = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in rows {
        say(&format!("  {:widest$}  {}", row.name, row.from));
    }
}

/// What the server could not ask for again in time: a line on stderr for each source, without a value.
pub(crate) fn stale(bundle: &Bundle) {
    bundle.stale.iter().for_each(|stale| say(&format!("warning: {}", printable(&stale.to_string()))));
}

/// For `--explain`: a table of everything, with plain values shown.
pub(crate) fn table(config: &Config, bundle: &Bundle, environment: &Environment) -> String {
    let mut lines = vec![["NAME", "KIND", "VALUE", "FROM"].map(str::to_owned)];
    lines.extend(rows(config, bundle, environment).into_iter().map(|row| [row.name, row.kind, row.value, row.from]));
    let mut widths = [0; 4];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = format!("{}\n\n", title(config, bundle));
    for [name, kind, value, from] in lines {
        let [a, b, c, _] = widths;
        text.push_str(&format!("{name:a$}  {kind:b$}  {value:c$}  {from}\n"));
    }
    text
}

struct Row {
    name: String,
    kind: String,
    value: String,
    from: String,
}

fn rows(config: &Config, bundle: &Bundle, environment: &Environment) -> Vec<Row> {
    let mut rows = Vec::with_capacity(bundle.variables.len() + bundle.files.len());
    for variable in &bundle.variables {
        let name = variable.name.as_str();
        let kept = config.preserved.iter().any(|kept| kept == name)
            && config.inherited.iter().any(|(inherited, _)| inherited == name);
        rows.push(Row {
            name: name.to_owned(),
            kind: "variable".to_owned(),
            value: if kept { "(inherited)".to_owned() } else { show(&variable.value, variable.secret) },
            from: if kept { "preserved".to_owned() } else { from(&variable.origin) },
        });
    }
    for file in &bundle.files {
        let owner = match (file.uid, file.gid) {
            (None, None) => String::new(),
            (uid, gid) => {
                let show = |id: Option<u32>| id.map_or(String::new(), |id| id.to_string());
                format!(" {}:{}", show(uid), show(gid))
            }
        };
        rows.push(Row {
            name: file.name.to_string(),
            kind: format!("file {}{owner}", file.mode),
            value: show(&file.value, file.secret),
            from: from(&file.origin),
        });
        if let Some(variable) = &file.variable {
            let path = Path::new(&config.secrets_dir).join(file.name.as_str());
            rows.push(Row {
                name: variable.to_string(),
                kind: "variable".to_owned(),
                value: path.display().to_string(),
                from: format!("the path of {}", file.name),
            });
        }
    }
    for (name, path) in &environment.filled {
        rows.push(Row {
            name: name.clone(),
            kind: "variable".to_owned(),
            value: MASK.to_owned(),
            from: format!("the file {}", path.to_string_lossy()),
        });
    }
    rows
}

fn title(config: &Config, bundle: &Bundle) -> String {
    let region = bundle.region.as_ref().map_or(String::new(), |region| format!("/{region}"));
    let source = config.region_source.as_ref().map_or(String::new(), |source| format!(", region from {source}"));
    let service = bundle.service.as_ref().map_or(String::new(), |service| format!(" for {service}"));
    format!("{}/{}{region}{service}, revision {}{source}", bundle.stack, bundle.environment, bundle.revision)
}

fn from(origin: &Origin) -> String {
    let kind = match origin {
        Origin { template: true, .. } => ", template",
        Origin { reference: true, .. } => ", reference",
        _ => "",
    };
    format!("from {} (version {}{kind})", origin.layer, origin.version)
}

fn show(value: &Value, secret: bool) -> String {
    if secret {
        return MASK.to_owned();
    }
    match std::str::from_utf8(value.expose_secret()) {
        Ok(text) if text.chars().count() <= MOST_SHOWN => printable(text),
        Ok(text) => printable(&text.chars().take(MOST_SHOWN).chain(['…']).collect::<String>()),
        Err(_) => format!("({} bytes)", value.len()),
    }
}
