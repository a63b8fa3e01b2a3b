//! Resolving templates: each reference is replaced by what it refers to, and every fault is collected.

use std::collections::BTreeMap;
use std::fmt;

use chandlery_wire::{EntryName, EnvironmentName, Fault, MAX_VALUE_BYTES, StackName, Value};

use super::template::{Literal, Part, Reference, parse};

/// Templates within templates, at most. People use two or three; a chain of hundreds is a mistake.
const MAX_DEPTH: usize = 32;

/// Faults in one answer, at most: nobody reads more, and each costs the server time.
const MOST_FAULTS: usize = 200;

/// An entry, where it may be one of another environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `None` for the environment that is being resolved.
    pub space: Option<(StackName, EnvironmentName)>,
    pub name: EntryName,
}

impl Key {
    #[must_use]
    pub fn here(name: EntryName) -> Self {
        Self { space: None, name }
    }

    /// What a reference means that stands in a template of this entry's environment.
    fn refer(&self, reference: &Reference) -> Self {
        match reference.clone() {
            Reference::Here(name) => Self { space: self.space.clone(), name },
            Reference::There { stack, environment, name } => Self { space: Some((stack, environment)), name },
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.space {
            None => write!(f, "{}", self.name),
            Some((stack, environment)) => write!(f, "{stack}/{environment}/{}", self.name),
        }
    }
}

/// The plaintext of an entry as it was written.
#[derive(Debug, Clone)]
pub struct Source {
    pub value: Value,
    pub template: bool,
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The service gets no entry of that name.
    Here,
    /// The region's overlay takes the entry away.
    Removed,
    /// In another environment: it is not there, or the caller may not read it. Which of the two is not said.
    There,
    /// It is kept outside, and cannot be had from there: why not, for a sentence that begins with its name.
    Outside {
        why: String,
        /// Whether it may be had a little later.
        passing: bool,
    },
}

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub list: Vec<Fault>,
    /// Whether nobody has to do anything about any of it but wait.
    pub passing: bool,
}

/// Where plaintext comes from. The error type is for what is worse than a missing entry: a damaged record ends it all.
pub trait Library {
    type Error;

    /// The winner for the name, or why there is none.
    ///
    /// # Errors
    /// When the store cannot be read, or a record is not what was written.
    fn source(&mut self, key: &Key) -> Result<Result<Source, Missing>, Self::Error>;
}

/// The plaintext of every entry that was asked for, or everything that is at fault.
pub type Expanded = Result<BTreeMap<EntryName, Value>, Faults>;

/// Resolves the entries named, all of them or none.
///
/// # Errors
/// The library's error; or, inside, every fault of every template at once.
pub fn expand<L: Library>(library: &mut L, names: impl IntoIterator<Item = EntryName>) -> Result<Expanded, L::Error> {
    let mut expander = Expander {
        library,
        done: BTreeMap::new(),
        path: Vec::new(),
        faults: Faults { list: Vec::new(), passing: true },
    };
    let mut values = BTreeMap::new();
    for name in names {
        let key = Key::here(name.clone());
        match expander.resolve(&key)? {
            Ok(Some(value)) => drop(values.insert(name, value)),
            Ok(None) => {}
            Err(missing) => expander.missing(&key, "", &missing),
        }
    }
    Ok(if expander.faults.list.is_empty() { Ok(values) } else { Err(expander.faults) })
}

struct Expander<'a, L> {
    library: &'a mut L,
    /// `None` for what has a fault that is told already.
    done: BTreeMap<Key, Option<Value>>,
    path: Vec<Key>,
    faults: Faults,
}

impl<L: Library> Expander<'_, L> {
    /// The value; or nothing, where its fault has been told; or why there is no such entry, for the referrer to tell.
    fn resolve(&mut self, key: &Key) -> Result<Result<Option<Value>, Missing>, L::Error> {
        if let Some(done) = self.done.get(key) {
            return Ok(Ok(done.clone()));
        }
        if let Some(start) = self.path.iter().position(|earlier| earlier == key) {
            let chain: Vec<String> = self.path[start..].iter().chain([key]).map(Key::to_string).collect();
            self.fault(key, format!("refers to itself: {}", chain.join(" → ")));
            return Ok(Ok(None));
        }
        let source = match self.library.source(key)? {
            Ok(source) => source,
            Err(missing) => return Ok(Err(missing)),
        };
        let value = if source.template { self.template(key, &source.value)? } else { Some(source.value) };
        self.done.insert(key.clone(), value.clone());
        Ok(Ok(value))
    }

    fn template(&mut self, key: &Key, template: &Value) -> Result<Option<Value>, L::Error> {
        let parts = match parse(template.expose_secret()) {
            Ok(parts) => parts,
            Err(fault) => {
                self.fault(key, format!("is not a template that can be read: {fault}"));
                return Ok(None);
            }
        };
        if self.path.len() >= MAX_DEPTH {
            self.fault(key, format!("is more than {MAX_DEPTH} templates deep"));
            return Ok(None);
        }
        self.path.push(key.clone());
        let pieces = self.pieces(key, &parts);
        self.path.pop();
        let Some(pieces) = pieces? else { return Ok(None) };
        let length: usize = pieces.iter().map(Value::len).sum();
        // The right capacity at once: a buffer that grows leaves copies of the secret behind in freed memory.
        let mut bytes = Vec::with_capacity(length);
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece.expose_secret()));
        Ok(Some(Value::new(bytes)))
    }

    /// The pieces of a template, or nothing where a fault has been told. It stops as soon as they are too long together:
    /// a small template can refer to a large value as often as it likes.
    fn pieces(&mut self, key: &Key, parts: &[Part<'_>]) -> Result<Option<Vec<Value>>, L::Error> {
        let (mut pieces, mut length, mut whole) = (Vec::with_capacity(parts.len()), 0, true);
        for part in parts {
            let Some(piece) = self.part(key, part)? else {
                whole = false;
                continue;
            };
            length += piece.len();
            if length > MAX_VALUE_BYTES {
                self.fault(key, format!("resolves to more than the {MAX_VALUE_BYTES} bytes that a value may have"));
                return Ok(None);
            }
            if whole {
                pieces.push(piece);
            }
        }
        Ok(whole.then_some(pieces))
    }

    /// A piece's bytes, or nothing where its fault has been told.
    fn part(&mut self, key: &Key, part: &Part<'_>) -> Result<Option<Value>, L::Error> {
        let reference = match part {
            Part::Literal(Literal(bytes)) => return Ok(Some(Value::new(*bytes))),
            Part::Reference(reference) => reference,
        };
        Ok(match self.resolve(&key.refer(reference))? {
            Ok(Some(value)) if value.is_empty() => {
                self.fault(key, format!("refers to {reference}, which is empty"));
                None
            }
            Ok(value) => value,
            Err(missing) => {
                self.missing(key, &format!("refers to {reference}, which "), &missing);
                None
            }
        })
    }

    fn missing(&mut self, key: &Key, before: &str, missing: &Missing) {
        let passing = self.faults.passing && matches!(missing, Missing::Outside { passing: true, .. });
        let why = match missing {
            Missing::Here => "is not set, or not granted to this service",
            Missing::Removed => "this region's overlay removes",
            Missing::There => "does not exist, or which this token may not read",
            Missing::Outside { why, .. } => why,
        };
        self.fault(key, format!("{before}{why}"));
        self.faults.passing = passing;
    }

    fn fault(&mut self, key: &Key, detail: String) {
        let fault = Fault { name: key.to_string(), detail };
        let Faults { list, passing } = &mut self.faults;
        *passing = false;
        match list.len() {
            MOST_FAULTS => {}
            last if last + 1 == MOST_FAULTS => {
                list.push(Fault { name: "…".to_owned(), detail: "and more; correct these first".to_owned() });
            }
            _ if list.contains(&fault) => {}
            _ => list.push(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Entries as `name`, `value`, and whether it is a template; `space` as `stack/environment`.
    struct Shelf(Vec<(&'static str, &'static str, bool)>);

    impl Library for Shelf {
        type Error = Infallible;

        fn source(&mut self, key: &Key) -> Result<Result<Source, Missing>, Infallible> {
            let found = self.0.iter().find(|(name, ..)| *name == key.to_string());
            let missing = if key.space.is_some() { Missing::There } else { Missing::Here };
            Ok(found
                .map(|(_, value, template)| Source { value: Value::new(*value), template: *template })
                .ok_or(missing))
        }
    }

    fn resolved(entries: &[(&'static str, &'static str, bool)], name: &str) -> Result<String, Vec<String>> {
        let name = EntryName::parse(name).unwrap();
        let Ok(result) = expand(&mut Shelf(entries.to_vec()), [name.clone()]);
        result
            .map(|values| String::from_utf8(values[&name].expose_secret().to_vec()).unwrap())
            .map_err(|faults| faults.list.into_iter().map(|fault| format!("{} {}", fault.name, fault.detail)).collect())
    }

    #[test]
    fn templates_follow_templates_and_other_environments() {
        let entries = [
            ("URL", "mysql://${USER}:${PW}@${infra/production/HOST}", true),
            ("USER", "root", false),
            ("PW", "${BASE}!", true),
            ("BASE", "a$${b", false),
            ("infra/production/HOST", "db.${DOMAIN}", true),
            ("infra/production/DOMAIN", "internal", false),
            ("DOMAIN", "must not be taken", false),
        ];
        assert_eq!(resolved(&entries, "URL").unwrap(), "mysql://root:a$${b!@db.internal");
    }

    #[test]
    fn a_literal_is_never_interpolated() {
        assert_eq!(resolved(&[("A", "${B}", false)], "A").unwrap(), "${B}");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let entries = [("A", "${NO} ${EMPTY} ${s/e/NO} ${B}", true), ("EMPTY", "", false), ("B", "${ALSO_NO}", true)];
        let faults = resolved(&entries, "A").unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
        for (fault, part) in faults.iter().zip([
            "A refers to NO,",
            "EMPTY, which is empty",
            "s/e/NO, which does not",
            "B refers to ALSO_NO",
        ]) {
            assert!(fault.contains(part), "{fault} lacks {part}");
        }
    }

    #[test]
    fn a_cycle_is_named_by_its_members() {
        let entries = [("A", "${B}", true), ("B", "${C}", true), ("C", "${A}", true)];
        assert_eq!(resolved(&entries, "A").unwrap_err(), ["A refers to itself: A → B → C → A"]);
        assert_eq!(resolved(&[("A", "x${A}", true)], "A").unwrap_err(), ["A refers to itself: A → A"]);
    }

    #[test]
    fn what_grows_without_bound_is_stopped() {
        let names: Vec<String> = (0..40).map(|n| format!("V{n}")).collect();
        let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let mut bomb: Vec<(&'static str, &'static str, bool)> =
            (1..25).map(|n| (leaked(names[n].clone()), leaked(format!("${{V{0}}}${{V{0}}}", n - 1)), true)).collect();
        bomb.push(("V0", "xxxxxxxxxxxxxxxx", false));
        assert!(resolved(&bomb, "V24").unwrap_err()[0].contains("bytes that a value may have"));
        let wide = [("W", leaked("${V0}".repeat(100_000)), true), ("V0", leaked("x".repeat(500_000)), false)];
        assert!(resolved(&wide, "W").unwrap_err()[0].contains("bytes that a value may have"));
        let many: String = (0..60_000).map(|n| format!("${{X{n}}}")).collect();
        assert_eq!(resolved(&[("M", leaked(many), true)], "M").unwrap_err().len(), MOST_FAULTS);
        let mut chain: Vec<(&'static str, &'static str, bool)> =
            (1..40).map(|n| (leaked(names[n].clone()), leaked(format!("${{V{}}}", n - 1)), true)).collect();
        chain.push(("V0", "x", false));
        assert!(resolved(&chain, "V39").unwrap_err()[0].contains("templates deep"));
    }
}
