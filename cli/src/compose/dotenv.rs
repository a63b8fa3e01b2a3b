//! `.env` and `env_file`, as compose reads them: a later line wins, a name alone is taken from the shell, `${…}` is
//! resolved unless it stands in single quotes.

use std::path::Path;
use std::rc::Rc;

use chandlery_wire::Value;

use super::interpolate::{self, Lookup, Use};
use super::variables::{Given, Variable};
use super::{Fault, Place};
use crate::formats::dotenv::{Assignment, assignments};

/// The variables of one file, in its order; a name that is there twice has its last value. `lookup` is what a name alone,
/// and `${…}`, can see besides the lines before.
pub(super) fn read(
    bytes: &[u8],
    file: &Path,
    lookup: &Lookup<'_>,
    notes: &mut Vec<String>,
    faults: &mut Vec<Fault>,
) -> Vec<Variable> {
    let shown: Rc<str> = file.display().to_string().into();
    let place = |line| Place { file: Rc::clone(&shown), line };
    let (found, wrong) = assignments(bytes);
    faults.extend(wrong.into_iter().map(|fault| Fault { at: place(fault.line), what: fault.what }));
    let mut variables: Vec<Variable> = Vec::new();
    for Assignment { name, value, line, expands } in found {
        let at = place(line);
        let seen = |name: &str| {
            let before = variables.iter().find(|variable| variable.name == name);
            lookup(name).or_else(|| before.and_then(Variable::text).map(str::to_owned))
        };
        let (given, uses) = match value {
            None => (seen(&name).map_or(Given::Nothing, |text| Given::Value(Value::new(text))), Vec::new()),
            Some(value) if expands => match expanded(&value, &name, &at, &seen) {
                Ok(Some((value, uses))) => (Given::Value(value), uses),
                Ok(None) => {
                    notes.push(format!(
                        "{at}: {name} holds a $ that docker-compose takes as it stands and Compose 2 expands; taken as it stands"
                    ));
                    (Given::Value(value), Vec::new())
                }
                Err(why) => {
                    faults.push(Fault::new(&at, format!("{name}: {why}")));
                    continue;
                }
            },
            Some(value) => (Given::Value(value), Vec::new()),
        };
        variables.retain(|variable| variable.name != name);
        variables.push(Variable { name, given, at, uses });
    }
    variables
}

/// The value with its `${…}` resolved; `None` where there is none, only what other readers may take for one.
fn expanded(value: &Value, name: &str, at: &Place, lookup: &Lookup<'_>) -> Result<Option<(Value, Vec<Use>)>, String> {
    let Ok(text) = std::str::from_utf8(value.expose_secret()) else { return Ok(None) };
    if !text.contains("${") {
        return Ok(None);
    }
    // A $ without a brace stays: only `${` is a reference in every version.
    let guarded = guard(text);
    let resolved = interpolate::resolve(&guarded, lookup)?;
    let path = vec!["env_file".to_owned(), name.to_owned()];
    let uses = resolved.names.into_iter().map(|(name, met)| Use { name, met, at: at.clone(), path: path.clone() });
    Ok(Some((Value::new(resolved.text), uses.collect())))
}

fn guard(text: &str) -> String {
    let mut guarded = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        guarded.push(c);
        if c == '$' && chars.peek() != Some(&'{') {
            guarded.push('$');
        }
    }
    guarded
}
