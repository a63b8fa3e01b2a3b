//! Which region a machine is in: what its file says, and what to ask its cloud.
//!
//! Nothing here opens a file or a connection. The CLI and the entrypoint do, each by its own means, and ask the same.

use std::net::{IpAddr, SocketAddr};

use crate::RegionName;

/// Holds the region's name and nothing else.
pub const REGION_FILE: &str = "/etc/chandlery/region";
/// What stands for "find it out, from the cloud as well" where a region's name could stand.
pub const AUTO: &str = "auto";
/// The address is the same in every cloud: link-local (RFC 3927), answered by the machine's own host.
pub const METADATA: &str = "http://169.254.169.254";

/// The address of a metadata service: `http://` and an IP address. A name could be anybody's, and nobody has a
/// certificate for that address.
#[must_use]
pub fn metadata_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = host(text)?;
    let address: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(address, port))
}

/// What stands between `http://` and the port, and the port. A socket address has a parser and a printer of its own, which
/// nothing else in the entrypoint needs.
fn host(text: &str) -> Option<(&str, u16)> {
    let host = text.strip_prefix("http://")?.trim_end_matches('/');
    match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host, port.parse().ok()?)),
        _ => Some((host, 80)),
    }
}

/// The questions to a metadata service, one after the other, until it has told the region.
///
/// EC2's is asked first, by IMDSv2: a token by PUT, which nothing that merely fetches URLs can be talked into, and with it the
/// region. Where that is not EC2's, DigitalOcean's is asked.
#[derive(Debug, Default)]
pub struct Inquiry {
    next: Question,
    /// Which of EC2's questions was answered with which status.
    not_ec2: (&'static str, u16),
}

#[derive(Debug, Default)]
enum Question {
    #[default]
    Token,
    Ec2(String),
    DigitalOcean,
}

/// How an inquiry ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The region, and whose service said so.
    Region(RegionName, &'static str),
    /// Why it is not known.
    Nothing(String),
}

impl Question {
    fn line(&self) -> &'static str {
        match self {
            Self::Token => "PUT /latest/api/token",
            Self::Ec2(_) => "GET /latest/meta-data/placement/region",
            Self::DigitalOcean => "GET /metadata/v1/region",
        }
    }
}

impl Inquiry {
    /// The next request, whole; each has a connection of its own. `endpoint` is what [`metadata_address`] took.
    #[must_use]
    pub fn request(&self, endpoint: &str) -> String {
        let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
        let (header, token) = match &self.next {
            Question::Token => ("Content-Length: 0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60", ""),
            Question::Ec2(token) => ("X-aws-ec2-metadata-token: ", token.as_str()),
            Question::DigitalOcean => ("Accept: text/plain", ""),
        };
        let line = self.next.line();
        [line, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n", header, token, "\r\n\r\n"].concat()
    }

    /// Takes its answer; `None` where there is something more to ask.
    pub fn answer(&mut self, status: u16, body: &[u8]) -> Option<Told> {
        let text = std::str::from_utf8(body).ok().filter(|_| status == 200).map(str::trim);
        let line = self.next.line();
        let told = |text: &str, service| match RegionName::parse(text) {
            Ok(region) => Told::Region(region, service),
            Err(error) => Told::Nothing(format!("its answer to {line} is no region: {error}")),
        };
        match (&self.next, text) {
            // Anything else in it would be a header of its own.
            (Question::Token, Some(token))
                if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                self.next = Question::Ec2(token.to_owned());
                None
            }
            (Question::Ec2(_), Some(text)) => Some(told(text, "EC2's metadata service")),
            (Question::DigitalOcean, Some(text)) => Some(told(text, "DigitalOcean's metadata service")),
            (Question::DigitalOcean, None) => Some(Told::Nothing(format!(
                "it is neither EC2's ({}: {}) nor DigitalOcean's ({line}: {status})",
                self.not_ec2.0, self.not_ec2.1
            ))),
            (Question::Token | Question::Ec2(_), _) => {
                self.not_ec2 = (line, status);
                self.next = Question::DigitalOcean;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked, and how it ends.
    fn inquire(answers: &[(u16, &str)]) -> (Vec<String>, Option<Told>) {
        let mut inquiry = Inquiry::default();
        let mut asked = Vec::new();
        for (status, body) in answers {
            asked.push(inquiry.request("http://127.0.0.1:80/"));
            if let Some(told) = inquiry.answer(*status, body.as_bytes()) {
                return (asked, Some(told));
            }
        }
        (asked, None)
    }

    fn region(name: &str, service: &'static str) -> Option<Told> {
        Some(Told::Region(RegionName::parse(name).unwrap(), service))
    }

    #[test]
    fn ec2_is_asked_with_a_token() {
        let (asked, told) = inquire(&[(200, "AQAEAFake=="), (200, "eu-west-1")]);
        assert_eq!(told, region("eu-west-1", "EC2's metadata service"));
        let head = "HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n";
        let put = "Content-Length: 0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
        assert_eq!(asked[0], format!("PUT /latest/api/token {head}{put}"));
        let get = "X-aws-ec2-metadata-token: AQAEAFake==\r\n\r\n";
        assert_eq!(asked[1], format!("GET /latest/meta-data/placement/region {head}{get}"));
    }

    #[test]
    fn digital_ocean_is_asked_where_it_is_not_ec2() {
        for refusal in [404, 405, 403, 204] {
            let (asked, told) = inquire(&[(refusal, "no"), (200, "sfo3\n")]);
            assert_eq!(told, region("sfo3", "DigitalOcean's metadata service"));
            assert_eq!(
                asked[1],
                "GET /metadata/v1/region HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\nAccept: text/plain\r\n\r\n"
            );
        }
        // A token that would be more than one header is none.
        assert_eq!(inquire(&[(200, "a\r\nX: b"), (200, "sfo3")]).1, region("sfo3", "DigitalOcean's metadata service"));
    }

    #[test]
    fn what_is_no_answer_says_what_was_asked() {
        let why = |answers: &[(u16, &str)]| match inquire(answers).1 {
            Some(Told::Nothing(why)) => why,
            told => panic!("{told:?}"),
        };
        assert_eq!(
            why(&[(404, ""), (404, "")]),
            "it is neither EC2's (PUT /latest/api/token: 404) nor DigitalOcean's (GET /metadata/v1/region: 404)"
        );
        let locked = why(&[(200, "token"), (401, ""), (404, "")]);
        assert!(locked.contains("(GET /latest/meta-data/placement/region: 401)"), "{locked}");
        for page in ["<html>", "", "EU", "base"] {
            let why = why(&[(200, "token"), (200, page)]);
            assert!(why.starts_with("its answer to GET /latest/meta-data/placement/region is no region: "), "{why}");
        }
    }

    #[test]
    fn an_address_is_one_and_no_name() {
        let address = |text| metadata_address(text).map(|address| address.to_string());
        assert_eq!(address(METADATA).as_deref(), Some("169.254.169.254:80"));
        assert_eq!(address("http://127.0.0.1:8080/").as_deref(), Some("127.0.0.1:8080"));
        for text in ["http://[fd00:ec2::254]", "http://[fd00:ec2::254]:80/"] {
            assert_eq!(address(text).as_deref(), Some("[fd00:ec2::254]:80"));
        }
        let wrong = ["https://169.254.169.254", "http://metadata.example", "169.254.169.254", "http://", ""];
        for wrong in wrong.into_iter().chain(["http://127.0.0.1:", "http://127.0.0.1:x", "http://fd00::254:99999"]) {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
