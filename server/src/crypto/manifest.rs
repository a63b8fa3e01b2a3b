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

fn grant_text(grant: &Grant) -> Cow<'static, str> {
    match grant {
        Grant::All => Cow::Borrowed("all"),
        Grant::Services(_) => Cow::Owned(grant.to_string()),
    }
}
