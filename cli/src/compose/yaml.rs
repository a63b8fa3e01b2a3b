//! YAML as a tree with places in it: anchors and merge keys resolved, types left alone.
//!
//! Built from the parser's events rather than its values, because what compose makes of `0123` or `1.10` is compose's to
//! say (see [`Node::printed`]), and because `!reset` and `!override` are tags that mean something.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::interpolate::Use;
use super::{Fault, Place};

/// More nodes than any compose file has, and few enough that aliases of aliases cannot fill the memory.
const MOST_NODES: usize = 200_000;
const DEEPEST: usize = 100;

/// A part of a file.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) at: Place,
    pub(crate) mark: Mark,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, no key twice.
    Map(Vec<(String, Node)>),
}

#[derive(Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes: YAML may take it for a number or a boolean.
    pub(crate) plain: bool,
    /// The `${…}` that were in it.
    pub(crate) uses: Vec<Use>,
}

/// What a tag says about how a node is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// `!reset`: as if it were in none of the files before.
    Reset,
    /// `!override`: instead of what the files before say, and not merged with it.
    Override,
}

/// Values are not shown: any of them may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => f.write_str("null"),
            Kind::Scalar(_) => f.write_str("…"),
            Kind::List(items) => f.debug_list().entries(items).finish(),
            Kind::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(key, node)| (key, node))).finish(),
        }
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, at: &Place) -> Self {
        Self { kind, at: at.clone(), mark: Mark::None }
    }

    pub(crate) fn text(text: impl Into<String>, at: &Place) -> Self {
        Self::new(Kind::Scalar(Scalar { text: text.into(), plain: false, uses: Vec::new() }), at)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::Map(pairs) => pairs.iter_mut().find(|(known, _)| known == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Puts a key into a map, instead of what it has there.
    pub(crate) fn put(&mut self, key: &str, node: Self) {
        self.take(key);
        if let Kind::Map(pairs) = &mut self.kind {
            pairs.push((key.to_owned(), node));
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Kind::Map(pairs) = &mut self.kind else { return None };
        let at = pairs.iter().position(|(known, _)| known == key)?;
        Some(pairs.remove(at).1)
    }

    /// The pairs of a map; none where it is something else.
    pub(crate) fn pairs(&self) -> &[(String, Self)] {
        match &self.kind {
            Kind::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a list; none where it is something else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    pub(crate) fn is_true(&self) -> bool {
        self.scalar().is_some_and(|scalar| matches!(scalar.text.as_str(), "true" | "True" | "TRUE" | "yes" | "on"))
    }

    /// A scalar, or the scalars of a list.
    pub(crate) fn strings(&self) -> Vec<String> {
        let one = self.as_str().map(str::to_owned);
        one.into_iter().chain(self.items().iter().filter_map(Self::as_str).map(str::to_owned)).collect()
    }

    /// The text that a container gets for this scalar, which is not always what is written: without quotes, YAML takes
    /// `0123` for the number 83 and `1.10` for 1.1, and compose prints the number.
    pub(crate) fn printed(&self) -> Option<String> {
        let scalar = self.scalar()?;
        Some(if scalar.plain {
            number(&scalar.text).unwrap_or_else(|| scalar.text.clone())
        } else {
            scalar.text.clone()
        })
    }
}

/// Whether YAML 1.1, and so docker-compose 1, takes a text without quotes for a number to base 60: `12:30`.
pub(super) fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let head = parts.next().is_some_and(|part| digits(part.trim_start_matches(['-', '+'])) && !part.starts_with('0'));
    let tail: Vec<&str> = parts.collect();
    let below_sixty =
        |part: &&str| digits(part) && part.len() <= 2 && part.parse::<u8>().is_ok_and(|number| number < 60);
    head && !tail.is_empty() && tail.iter().all(below_sixty)
}

/// What compose prints for a number or boolean that is written without quotes; `None` for a text.
fn number(text: &str) -> Option<String> {
    if matches!(text, "True" | "TRUE" | "False" | "FALSE") {
        return Some(text.to_ascii_lowercase());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    let radix = |prefix: &str, radix| plain.strip_prefix(prefix).and_then(|rest| u64::from_str_radix(rest, radix).ok());
    let octal = || (plain.len() > 1 && plain.bytes().all(|c| c.is_ascii_digit())).then(|| radix("0", 8)).flatten();
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(octal) {
        return Some(format!("{sign}{value}"));
    }
    if plain.bytes().all(|c| c.is_ascii_digit()) {
        return plain.parse::<u64>().ok().map(|value| format!("{sign}{value}"));
    }
    let float = plain.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = plain.parse::<f64>().ok().filter(|value| float && value.is_finite())?;
    // 1.0 is one thing to docker-compose and another to Compose 2; what is written is the better guess.
    let whole = plain.strip_suffix(".0").is_some_and(|whole| whole == value.to_string());
    Some(match () {
        () if whole => format!("{sign}{plain}"),
        // Both composes print so small and so large a number with an exponent of two digits.
        () if value != 0.0 && !(1e-4..1e21).contains(&value) => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (minus, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
            format!("{sign}{digits}e{minus}{exponent:0>2}")
        }
        () => format!("{sign}{value}"),
    })
}

/// Reads one document.
pub(crate) fn read(text: &str, file: &Rc<str>) -> Result<Node, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        file: Rc::clone(file),
        anchors: HashMap::new(),
        faults: Vec::new(),
        nodes: 0,
    };
    match reader.document() {
        Ok(node) if reader.faults.is_empty() => Ok(node),
        Ok(_) => Err(reader.faults),
        Err(mut fault) => {
            let line = text.lines().nth(fault.at.line.saturating_sub(1)).unwrap_or_default();
            if line.trim_start_matches(' ').starts_with('\t') {
                fault.what.push_str("; a tab does not indent, blanks do");
            }
            reader.faults.push(fault);
            Err(reader.faults)
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: Rc<str>,
    anchors: HashMap<usize, Node>,
    faults: Vec<Fault>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut found = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => break,
                _ if found.is_some() => {
                    return Err(Fault::new(&at, "a second document starts here; a compose file is one"));
                }
                event => found = Some(self.node(event, at, 0)?),
            }
        }
        let start = Place { file: Rc::clone(&self.file), line: 1 };
        let root = found.ok_or_else(|| Fault::new(&start, "the file is empty"))?;
        if matches!(root.kind, Kind::Map(_)) { Ok(root) } else { Err(Fault::new(&root.at, "is not a compose file")) }
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let at = self.place(&span);
                Ok((event, at))
            }
            Some(Err(error)) => {
                let at = Place { file: Rc::clone(&self.file), line: error.marker().line() };
                let what = format!("is not YAML: something is wrong at column {}", error.marker().col() + 1);
                Err(Fault::new(&at, what))
            }
            None => Ok((Event::StreamEnd, Place { file: Rc::clone(&self.file), line: 1 })),
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place { file: Rc::clone(&self.file), line: span.start.line().max(1) }
    }

    fn node(&mut self, event: Event<'a>, at: Place, depth: usize) -> Result<Node, Fault> {
        self.count(1, &at)?;
        if depth > DEEPEST {
            return Err(Fault::new(&at, format!("is nested deeper than {DEEPEST} levels")));
        }
        let (kind, anchor, tag) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new(&at, "an alias of what is not there yet"));
                };
                self.count(size(&node), &at)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_string(tag.as_deref());
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let scalar = Scalar { text: text.into_owned(), plain, uses: Vec::new() };
                (if null { Kind::Null } else { Kind::Scalar(scalar) }, anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => (Kind::List(self.list(depth)?), anchor, tag),
            Event::MappingStart(anchor, tag) => (Kind::Map(self.map(depth)?), anchor, tag),
            _ => return Err(Fault::new(&at, "is not YAML: a value is missing")),
        };
        let mark = self.mark(tag.as_deref(), &at);
        let node = Node { kind, at, mark };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    /// The pairs of a map. What `<<` brings in comes first, and gives way to what the map says itself.
    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Fault> {
        let mut merged: Vec<(String, Node)> = Vec::new();
        let mut own: Vec<(String, Node)> = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(text, style, ..), at) => ((text.into_owned(), style == ScalarStyle::Plain), at),
                (_, at) => return Err(Fault::new(&at, "a key is a list or a map")),
            };
            let (event, place) = self.next()?;
            let value = self.node(event, place, depth + 1)?;
            match key {
                (text, true) if text == "<<" => self.bring_in(&value, &mut merged),
                (text, _) if !keys.insert(text.clone()) => {
                    self.faults.push(Fault::new(&at, format!("{text:.60} is there twice")));
                }
                (text, _) => own.push((text, value)),
            }
        }
        merged.retain(|(key, _)| !keys.contains(key));
        merged.extend(own);
        Ok(merged)
    }

    /// `<<: *a` or `<<: [*a, *b]`, where the first that has a key wins.
    fn bring_in(&mut self, value: &Node, merged: &mut Vec<(String, Node)>) {
        match &value.kind {
            Kind::Map(pairs) => {
                for (key, node) in pairs {
                    if !merged.iter().any(|(known, _)| known == key) {
                        merged.push((key.clone(), node.clone()));
                    }
                }
            }
            Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Map(_))) => {
                items.iter().for_each(|item| self.bring_in(item, merged));
            }
            Kind::Null => {}
            _ => self.faults.push(Fault::new(&value.at, "what `<<` merges is no map")),
        }
    }

    fn mark(&mut self, tag: Option<&Tag>, at: &Place) -> Mark {
        let Some(tag) = tag else { return Mark::None };
        if tag.is_yaml_core_schema() {
            return Mark::None;
        }
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => Mark::Reset,
            ("!", "override") => Mark::Override,
            ("!" | "", "" | "!") => Mark::None,
            _ => {
                self.faults.push(Fault::new(at, "has a tag that compose does not know"));
                Mark::None
            }
        }
    }

    fn count(&mut self, nodes: usize, at: &Place) -> Result<(), Fault> {
        self.nodes += nodes;
        let what = || Fault::new(at, format!("with its aliases, the file has more than {MOST_NODES} parts"));
        if self.nodes > MOST_NODES { Err(what()) } else { Ok(()) }
    }
}

fn is_string(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| {
        (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!")
    })
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Null | Kind::Scalar(_) => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(pairs) => pairs.iter().map(|(_, node)| size(node)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<Node, Vec<Fault>> {
        read(text, &Rc::from("f.yml"))
    }

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "~".to_owned(),
            Kind::Scalar(scalar) => scalar.text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Kind::Map(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, node)| format!("{key}:{}", shown(node))).collect();
                format!("{{{}}}", pairs.join(" "))
            }
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved_and_the_map_itself_wins() {
        let text = "x: &x {A: 1, B: 2}\ny: &y {B: 3, C: 4}\nz:\n  <<: [*x, *y]\n  A: 9\nl: [*x]\n";
        let node = tree(text).unwrap();
        assert_eq!(shown(node.get("z").unwrap()), "{B:2 C:4 A:9}");
        assert_eq!(shown(node.get("l").unwrap()), "[{A:1 B:2}]");
        let quoted = tree("a: {'<<': b}\n").unwrap();
        assert_eq!(shown(quoted.get("a").unwrap()), "{<<:b}");
    }

    #[test]
    fn aliases_of_aliases_do_not_fill_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 9].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
        }
        let faults = tree(&text).unwrap_err();
        assert!(faults[0].what.contains("more than"), "{faults:?}");
        let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(tree(&deep).is_err());
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_never_quoted() {
        for text in
            ["a: \"s3cret\n", "- s3cret\n", "", "a: 1\n---\nb: s3cret\n", "a: *s3cret\n", "a: !s3 x\n", "? [a]\n: b\n"]
        {
            let faults = tree(text).unwrap_err();
            assert!(!format!("{faults:?}").contains("s3cret"), "{faults:?}");
        }
        assert_eq!(tree("a: 1\nb: 2\na: 3\n").unwrap_err()[0].to_string(), "f.yml:3: a is there twice");
        assert!(!format!("{:?}", tree("a: {b: [s3cret]}\n").unwrap()).contains("s3cret"));
    }

    #[test]
    fn numbers_are_printed_as_compose_prints_them() {
        let cases = [
            ("3306", "3306"),
            ("0123", "83"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("1.10", "1.1"),
            ("3.0", "3.0"),
            ("0.00001", "1e-05"),
            ("1.5e22", "1.5e+22"),
            ("0.0", "0.0"),
            ("1_000", "1000"),
            ("True", "true"),
            ("yes", "yes"),
            ("1.2.3", "1.2.3"),
            ("08", "8"),
            ("12:30", "12:30"),
            ("1e3", "1000"),
            ("-5", "-5"),
            ("1a", "1a"),
            ("2020-01-01", "2020-01-01"),
            ("\"0123\"", "0123"),
            ("!!str 0123", "0123"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ];
        for (text, expected) in cases {
            let node = tree(&format!("a: {text}\n")).unwrap();
            assert_eq!(node.get("a").unwrap().printed().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn compose_s_own_tags_are_kept() {
        let node = tree("a: !reset null\nb: !override [x]\nc: !!str 5\n").unwrap();
        let mark = |key: &str| node.get(key).unwrap().mark;
        assert_eq!((mark("a"), mark("b"), mark("c")), (Mark::Reset, Mark::Override, Mark::None));
    }
}
