//! References, as they are written: `scheme:locator#key`.

use std::fmt;

/// Bytes of a reference, at most.
const LONGEST: usize = 2048;

/// Which source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// AWS Secrets Manager: `aws:eu-west-1:app/production#DB_PASSWORD`.
    Aws,
    /// A program's output: `exec:NAME` or `exec:NAME:ARGUMENT`.
    Exec,
    /// A file of the server's host: `file:/etc/…`.
    File,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::Aws, Self::Exec, Self::File];

    fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Exec => "exec",
            Self::File => "file",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is fetched at once, for all references that differ in their key only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub scheme: Scheme,
    /// What the scheme's source makes of it.
    pub locator: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.locator)
    }
}

/// Where a value is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub address: Address,
    /// Which part of it: of a JSON object, or of lines `NAME=value`. All of it where there is none.
    pub key: Option<String>,
}

impl Reference {
    /// Reads a reference. The key is everything after the first `#`.
    ///
    /// # Errors
    /// Says how it should look.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        const FORM: &str = "write it as in aws:eu-west-1:app/production#DB_PASSWORD, file:/path#KEY or exec:NAME";
        let text = std::str::from_utf8(text).map_err(|_| "a reference is text".to_owned())?;
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(format!("a reference is one line of at most {LONGEST} bytes"));
        }
        let Some((scheme, rest)) = text.split_once(':') else { return Err(format!("that is no reference; {FORM}")) };
        let Some(scheme) = Scheme::ALL.into_iter().find(|known| known.as_str() == scheme) else {
            return Err(format!("it names no source that there is; {FORM}"));
        };
        let (locator, key) = match rest.split_once('#') {
            Some((_, "")) => return Err("after # comes no key; leave the # out for all of it".to_owned()),
            Some((locator, key)) => (locator, Some(key.to_owned())),
            None => (rest, None),
        };
        if locator.is_empty() {
            return Err(format!("after {scheme}: comes nothing; {FORM}"));
        }
        Ok(Self { address: Address { scheme, locator: locator.to_owned() }, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_source_a_locator_and_a_key() {
        let of = |text: &str| Reference::parse(text.as_bytes()).unwrap();
        let arn = of("aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf#DB#1");
        assert_eq!(arn.address.to_string(), "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf");
        assert_eq!(arn.key.as_deref(), Some("DB#1"));
        assert_eq!(of("file:/etc/x").key, None);
        assert_eq!(of("file:/etc/x#A").address, of("file:/etc/x#B").address);
    }

    #[test]
    fn what_is_none_is_told_so() {
        for text in
            ["", "hunter2", "vault:x", "aws:", "exec:#A", "file:/x#", "file:/a\nb", "AWS:eu-west-1:x", "file:\0"]
        {
            assert!(Reference::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Reference::parse(&[b'f', b':', 0xff]).is_err());
        assert!(Reference::parse(format!("file:/{}", "x".repeat(LONGEST)).as_bytes()).is_err());
    }
}
