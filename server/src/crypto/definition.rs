//! Macs of the rows that are not encrypted: stacks, environments, nodes, tokens.

use chandlery_wire::{EnvironmentName, NodeName, ProjectName, RegionName, ServiceName, StackName};

use super::error::Fault;
use super::{IntegrityError, Keyring, Mac, MacKey, Transcript};

const STACK_LABEL: &str = "chandlery/v1/stack";
const ENVIRONMENT_LABEL: &str = "chandlery/v1/environment";
const TOKEN_LABEL: &str = "chandlery/v1/token";
const NODE_TOKEN_LABEL: &str = "chandlery/v1/node-token";
const TOKENS_LABEL: &str = "chandlery/v1/tokens";
const NODE_LABEL: &str = "chandlery/v1/node";
const NODES_LABEL: &str = "chandlery/v1/nodes";
const OPENING_LABEL: &str = "chandlery/v1/opening";
const OPENINGS_LABEL: &str = "chandlery/v1/openings";

/// A row whose every field is covered by one mac.
///
/// ```text
/// stack       = HMAC-SHA-256(manifest key, transcript("chandlery/v1/stack", name, list(services)))
/// environment = HMAC-SHA-256(manifest key, transcript("chandlery/v1/environment", stack, name, list(regions)))
/// token       = HMAC-SHA-256(token key, transcript("chandlery/v1/token", id, hash, description, verbs, scopes,
///               number(created), created by, optional(expires), optional(uses left), optional(revoked)))
///               or, bound to a node: the same with the label "chandlery/v1/node-token", and the node at the end
/// tokens      = HMAC-SHA-256(token key, transcript("chandlery/v1/tokens", number(count), and of each token, sorted by id:
///               its mac))
/// node        = HMAC-SHA-256(manifest key, transcript("chandlery/v1/node", name, region, number(revision),
///               number(created), author))
/// nodes       = HMAC-SHA-256(manifest key, transcript("chandlery/v1/nodes", number(count), and of each node, sorted by
///               name: its mac))
/// opening     = HMAC-SHA-256(manifest key, transcript("chandlery/v1/opening", stack, environment, project, images,
///               number(1 where exec is allowed, else 0), number(revision), number(created), author))
/// openings    = HMAC-SHA-256(manifest key, transcript("chandlery/v1/openings", number(count), and of each opening, sorted
///               by stack, environment and project: its mac))
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Definition<'a> {
    Stack {
        name: &'a StackName,
        services: &'a [ServiceName],
    },
    Environment {
        stack: &'a StackName,
        name: &'a EnvironmentName,
        regions: &'a [RegionName],
    },
    Token(TokenFields<'a>),
    /// All tokens together, by their macs in the order of their ids: so that none can be put back to what it was before
    /// it was revoked.
    Tokens {
        macs: &'a [Mac],
    },
    Node(NodeFields<'a>),
    /// All nodes together, by their macs in the order of their names: so that none goes back to a region it has left.
    Nodes {
        macs: &'a [Mac],
    },
    Opening(OpeningFields<'a>),
    /// All openings together: so that none that was closed is open again.
    Openings {
        macs: &'a [Mac],
    },
}

/// Everything that is stored of an opening.
#[derive(Debug, Clone, Copy)]
pub struct OpeningFields<'a> {
    pub stack: &'a StackName,
    pub environment: &'a EnvironmentName,
    pub project: &'a ProjectName,
    /// JSON, as it is stored.
    pub images: &'a str,
    pub allow_exec: bool,
    pub revision: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    pub author: &'a str,
}

/// Everything that is stored of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeFields<'a> {
    pub name: &'a NodeName,
    pub region: &'a RegionName,
    pub revision: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    pub author: &'a str,
}

/// Everything that is stored of a token. Times are milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy)]
pub struct TokenFields<'a> {
    pub id: &'a str,
    pub hash: &'a [u8; 32],
    pub description: &'a str,
    /// JSON, as it is stored.
    pub verbs: &'a str,
    /// JSON, as it is stored.
    pub scopes: &'a str,
    pub created: i64,
    pub created_by: &'a str,
    pub expires: Option<i64>,
    pub uses_left: Option<u32>,
    pub revoked: Option<i64>,
    pub node: Option<&'a NodeName>,
}

impl Definition<'_> {
    #[must_use]
    pub fn sign(&self, keyring: &Keyring) -> Mac {
        self.key(keyring).sign(&self.transcript())
    }

    /// Checks that the row is as it was written.
    ///
    /// # Errors
    /// Names the row.
    pub fn verify(&self, keyring: &Keyring, mac: &Mac) -> Result<(), IntegrityError> {
        match self.key(keyring).verify(&self.transcript(), mac) {
            true => Ok(()),
            false => Err(IntegrityError::new(self.record(), Fault::Row)),
        }
    }

    fn record(&self) -> String {
        match self {
            Self::Stack { name, .. } => format!("stack {name}"),
            Self::Environment { stack, name, .. } => format!("environment {stack}/{name}"),
            Self::Token(token) => format!("token {}", token.id),
            Self::Tokens { .. } => "the list of tokens".to_owned(),
            Self::Node(node) => format!("node {}", node.name),
            Self::Nodes { .. } => "the list of nodes".to_owned(),
            Self::Opening(opening) => {
                format!("opening {}/{} for {}", opening.stack, opening.environment, opening.project)
            }
            Self::Openings { .. } => "the list of openings".to_owned(),
        }
    }

    fn key<'k>(&self, keyring: &'k Keyring) -> &'k MacKey {
        match self {
            Self::Token(_) | Self::Tokens { .. } => keyring.token_key(),
            _ => keyring.manifest_key(),
        }
    }

    fn transcript(&self) -> Transcript {
        match self {
            Self::Stack { name, services } => Transcript::new(STACK_LABEL).text(name.as_str()).list(services),
            Self::Environment { stack, name, regions } => {
                Transcript::new(ENVIRONMENT_LABEL).text(stack.as_str()).text(name.as_str()).list(regions)
            }
            Self::Tokens { macs } => all(TOKENS_LABEL, macs),
            Self::Nodes { macs } => all(NODES_LABEL, macs),
            Self::Node(node) => Transcript::new(NODE_LABEL)
                .text(node.name.as_str())
                .text(node.region.as_str())
                .number(node.revision)
                .number(node.created.cast_unsigned())
                .text(node.author),
            Self::Openings { macs } => all(OPENINGS_LABEL, macs),
            Self::Opening(opening) => Transcript::new(OPENING_LABEL)
                .text(opening.stack.as_str())
                .text(opening.environment.as_str())
                .text(opening.project.as_str())
                .text(opening.images)
                .number(opening.allow_exec.into())
                .number(opening.revision)
                .number(opening.created.cast_unsigned())
                .text(opening.author),
            Self::Token(token) => token.transcript(),
        }
    }
}

fn all(label: &'static str, macs: &[Mac]) -> Transcript {
    let start = Transcript::new(label).number(macs.len() as u64);
    macs.iter().fold(start, |transcript, mac| transcript.bytes(mac))
}

impl TokenFields<'_> {
    fn transcript(&self) -> Transcript {
        let label = if self.node.is_some() { NODE_TOKEN_LABEL } else { TOKEN_LABEL };
        let transcript = Transcript::new(label)
            .text(self.id)
            .bytes(self.hash)
            .text(self.description)
            .text(self.verbs)
            .text(self.scopes)
            .number(self.created.cast_unsigned())
            .text(self.created_by)
            .optional(self.expires.map(i64::cast_unsigned))
            .optional(self.uses_left.map(u64::from))
            .optional(self.revoked.map(i64::cast_unsigned));
        match self.node {
            None => transcript,
            Some(node) => transcript.text(node.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RootKey;
    use super::*;

    #[test]
    fn every_field_is_covered() {
        let (keyring, _) = Keyring::create(&RootKey::from_bytes([1; 32])).unwrap();
        let token = TokenFields {
            id: "tok_1",
            hash: &[1; 32],
            description: "d",
            verbs: "[]",
            scopes: "[{}]",
            created: 1,
            created_by: "tok_0",
            expires: None,
            uses_left: None,
            revoked: None,
            node: None,
        };
        let [vm_1, vm_2] = ["vm-1", "vm-2"].map(|name| NodeName::parse(name).unwrap());
        let [eu, us] = ["eu", "us"].map(|name| RegionName::parse(name).unwrap());
        let node = NodeFields { name: &vm_1, region: &eu, revision: 1, created: 1, author: "tok_0" };
        let name = |text: &str| StackName::parse(text).unwrap();
        let environment = |text: &str| EnvironmentName::parse(text).unwrap();
        let ([a, b], [d, e]) = (["a", "b"].map(name), ["d", "e"].map(environment));
        let [project, other] = ["p", "q"].map(|name| ProjectName::parse(name).unwrap());
        let opening = OpeningFields {
            stack: &a,
            environment: &d,
            project: &project,
            images: "{}",
            allow_exec: false,
            revision: 1,
            created: 1,
            author: "tok_0",
        };
        let services = |text: &[&str]| text.iter().map(|name| ServiceName::parse(*name).unwrap()).collect::<Vec<_>>();
        let regions = |text: &[&str]| text.iter().map(|name| RegionName::parse(*name).unwrap()).collect::<Vec<_>>();
        let all = [
            Definition::Stack { name: &name("a"), services: &services(&[]) },
            Definition::Stack { name: &name("a"), services: &services(&["b"]) },
            Definition::Stack { name: &name("a"), services: &services(&["b", "c"]) },
            Definition::Stack { name: &name("a"), services: &services(&["bc"]) },
            Definition::Environment { stack: &name("a"), name: &environment("b"), regions: &regions(&[]) },
            Definition::Environment { stack: &name("b"), name: &environment("a"), regions: &regions(&[]) },
            Definition::Environment { stack: &name("a"), name: &environment("b"), regions: &regions(&["eu"]) },
            Definition::Token(token),
            Definition::Token(TokenFields { id: "tok_2", ..token }),
            Definition::Token(TokenFields { hash: &[2; 32], ..token }),
            Definition::Token(TokenFields { description: "e", ..token }),
            Definition::Token(TokenFields { verbs: "[\"write\"]", ..token }),
            Definition::Token(TokenFields { scopes: "[]", ..token }),
            Definition::Token(TokenFields { created: -1, ..token }),
            Definition::Token(TokenFields { created_by: "tok_1", ..token }),
            Definition::Token(TokenFields { expires: Some(1), ..token }),
            Definition::Token(TokenFields { uses_left: Some(1), ..token }),
            Definition::Token(TokenFields { revoked: Some(1), ..token }),
            Definition::Token(TokenFields { node: Some(&vm_1), ..token }),
            Definition::Token(TokenFields { node: Some(&vm_2), ..token }),
            Definition::Node(node),
            Definition::Node(NodeFields { name: &vm_2, ..node }),
            Definition::Node(NodeFields { region: &us, ..node }),
            Definition::Node(NodeFields { revision: 2, ..node }),
            Definition::Node(NodeFields { created: -1, ..node }),
            Definition::Node(NodeFields { author: "tok_1", ..node }),
            Definition::Opening(opening),
            Definition::Opening(OpeningFields { stack: &b, ..opening }),
            Definition::Opening(OpeningFields { environment: &e, ..opening }),
            Definition::Opening(OpeningFields { project: &other, ..opening }),
            Definition::Opening(OpeningFields { images: "{\"a\":[]}", ..opening }),
            Definition::Opening(OpeningFields { allow_exec: true, ..opening }),
            Definition::Opening(OpeningFields { revision: 2, ..opening }),
            Definition::Opening(OpeningFields { created: -1, ..opening }),
            Definition::Opening(OpeningFields { author: "tok_1", ..opening }),
            Definition::Openings { macs: &[] },
            Definition::Openings { macs: &[[1; 32]] },
            Definition::Nodes { macs: &[] },
            Definition::Nodes { macs: &[[1; 32]] },
        ];
        for (at, one) in all.iter().enumerate() {
            let mac = one.sign(&keyring);
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(at == other_at, other.verify(&keyring, &mac).is_ok(), "{one:?} and {other:?}");
            }
        }
        let refused = all[7].verify(&keyring, &[0; 32]).unwrap_err();
        assert_eq!(refused.to_string(), "token tok_1: the row was changed behind the store's back");
    }
}
