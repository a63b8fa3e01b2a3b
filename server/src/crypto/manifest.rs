//! The manifest: one mac over all current rows of a layer, so that none can be rolled back, dropped or slipped in.

use std::borrow::Cow;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName};

use super::error::Fault;
use super::record::state_text;
use super::{IntegrityError, Keyring, Mac, Transcript};

const LABEL: &str = "chandlery/v1/manifest";

/// Which layer, and the revision at which it last changed.
///
/// ```text
/// manifest = HMAC-SHA-256(manifest key, transcript("chandlery/v1/manifest", stack, environment, layer,
///            number(revision), number(rows), and of each row: name, grant, number(version), state, tag))
/// ```
///
/// with the current rows sorted by name and then by the grant's text, bytewise.
#[derive(Debug, Clone, Copy)]
pub struct LayerHeader<'a> {
    pub stack: &'a StackName,
    pub environment: &'a EnvironmentName,
    pub layer: &'a Layer,
    pub revision: u64,
}

/// What the manifest says of one current row.
#[derive(Debug, Clone, Copy)]
pub struct ManifestLine<'a> {
    pub name: &'a EntryName,
    pub grant: &'a Grant,
    pub version: u64,
    pub state: State,
    /// The last 16 bytes of its ciphertext, [`super::Sealed::tag`].
    pub tag: &'a [u8],
}

impl LayerHeader<'_> {
    /// The manifest of these rows, in whatever order they come.
    #[must_use]
    pub fn sign<'a>(&self, keyring: &Keyring, lines: impl IntoIterator<Item = ManifestLine<'a>>) -> Mac {
        keyring.manifest_key().sign(&self.transcript(lines))
    }

    /// Checks that these rows are the layer's, all of them, and no others.
    ///
    /// # Errors
    /// Names the layer. Which row it is cannot be told from the manifest alone.
    pub fn verify<'a>(
        &self,
        keyring: &Keyring,
        lines: impl IntoIterator<Item = ManifestLine<'a>>,
        manifest: &Mac,
    ) -> Result<(), IntegrityError> {
        if keyring.manifest_key().verify(&self.transcript(lines), manifest) {
            return Ok(());
        }
        let Self { stack, environment, layer, .. } = self;
        Err(IntegrityError::new(format!("{stack}/{environment}/{layer}"), Fault::Manifest))
    }

    fn transcript<'a>(&self, lines: impl IntoIterator<Item = ManifestLine<'a>>) -> Transcript {
        let mut lines: Vec<(ManifestLine<'a>, Cow<'a, str>)> =
            lines.into_iter().map(|line| (line, grant_text(line.grant))).collect();
        if !lines.is_sorted_by(|one, other| order(one) < order(other)) {
            lines.sort_by(|one, other| order(one).cmp(&order(other)));
        }
        let mut transcript = Transcript::new(LABEL)
            .text(self.stack.as_str())
            .text(self.environment.as_str())
            .text(self.layer.as_str())
            .number(self.revision)
            .number(lines.len() as u64);
        transcript.reserve(lines.len() * 96);
        for (line, grant) in &lines {
            transcript.push(line.name.as_str().as_bytes());
            transcript.push(grant.as_bytes());
            transcript.push(&line.version.to_be_bytes());
            transcript.push(state_text(line.state).as_bytes());
            transcript.push(line.tag);
        }
        transcript
    }
}

fn order<'a>((line, grant): &'a (ManifestLine<'_>, Cow<'_, str>)) -> (&'a str, &'a str) {
    (line.name.as_str(), grant)
}

pub(super) fn grant_text(grant: &Grant) -> Cow<'static, str> {
    match grant {
        Grant::All => Cow::Borrowed("all"),
        Grant::Services(_) => Cow::Owned(grant.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RootKey;
    use super::*;

    type Owned = (EntryName, Grant, u64, State, [u8; 16]);

    fn lines(rows: &[Owned]) -> impl Iterator<Item = ManifestLine<'_>> {
        rows.iter().map(|(name, grant, version, state, tag)| ManifestLine {
            name,
            grant,
            version: *version,
            state: *state,
            tag,
        })
    }

    fn with_header<T>(layer: &str, revision: u64, f: impl FnOnce(LayerHeader<'_>) -> T) -> T {
        let (stack, environment) = (StackName::parse("a").unwrap(), EnvironmentName::parse("b").unwrap());
        let layer = layer.parse().unwrap();
        f(LayerHeader { stack: &stack, environment: &environment, layer: &layer, revision })
    }

    fn rows() -> impl Strategy<Value = Vec<Owned>> {
        let row =
            ("[A-C]", prop::sample::select(vec!["all", "app", "app,db"]), 1..4u64, any::<bool>(), any::<[u8; 16]>());
        let rows = prop::collection::btree_map((row.0, row.1), (row.2, row.3, row.4), 0..6);
        rows.prop_map(|rows| {
            rows.into_iter()
                .map(|((name, grant), (version, live, tag))| {
                    let state = if live { State::Live } else { State::Deleted };
                    (EntryName::parse(name).unwrap(), grant.parse().unwrap(), version, state, tag)
                })
                .collect()
        })
    }

    fn keyring() -> Keyring {
        Keyring::create(&RootKey::from_bytes([1; 32])).unwrap().0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_the_same_rows_verify(one in rows(), other in rows()) {
            let keyring = keyring();
            let manifest = with_header("eu", 1, |header| header.sign(&keyring, lines(&one)));
            let verdict = with_header("eu", 1, |header| header.verify(&keyring, lines(&other), &manifest));
            prop_assert_eq!(one == other, verdict.is_ok());
        }

        #[test]
        fn the_order_in_which_rows_come_is_all_the_same(mut rows in rows()) {
            let keyring = keyring();
            let manifest = with_header("eu", 1, |header| header.sign(&keyring, lines(&rows)));
            rows.reverse();
            prop_assert!(with_header("eu", 1, |header| header.verify(&keyring, lines(&rows), &manifest)).is_ok());
        }
    }

    #[test]
    fn rolling_back_dropping_and_adding_a_row_is_seen() {
        let keyring = keyring();
        let row =
            |name: &str, version, tag| (EntryName::parse(name).unwrap(), Grant::All, version, State::Live, [tag; 16]);
        let rows = vec![row("A", 2, 2), row("B", 1, 3)];
        let manifest = with_header("eu", 7, |header| header.sign(&keyring, lines(&rows)));
        let refused = |layer: &str, revision, rows: &[Owned]| {
            with_header(layer, revision, |header| header.verify(&keyring, lines(rows), &manifest)).err()
        };
        assert_eq!(refused("eu", 7, &rows), None);
        for changed in [
            vec![row("A", 1, 1), row("B", 1, 3)],
            vec![row("A", 2, 1), row("B", 1, 3)],
            vec![row("A", 2, 2)],
            vec![],
            vec![row("A", 2, 2), row("B", 1, 3), row("C", 1, 4)],
            vec![row("A", 2, 3), row("B", 1, 2)],
            vec![row("A", 2, 2), row("A", 2, 2), row("B", 1, 3)],
        ] {
            let error = refused("eu", 7, &changed).unwrap();
            assert_eq!((error.record.as_str(), &error.fault), ("a/b/eu", &Fault::Manifest));
        }
        assert!(refused("us", 7, &rows).is_some() && refused("base", 7, &rows).is_some(), "a layer put elsewhere");
        assert!(refused("eu", 6, &rows).is_some(), "another revision");
    }
}
