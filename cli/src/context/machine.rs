//! The region of the machine, where nobody says it: from its file, or, when asked to, from the cloud's metadata service.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use chandlery_wire::RegionName;
use chandlery_wire::machine::{Inquiry, METADATA, REGION_FILE, Told, metadata_address};

use super::source::{Item, Source, Surroundings};
use crate::failure::{Exit, Failure};

/// For each step. The service is one hop away; where there is none, nobody is to wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_BYTES: u64 = 16 * 1024;

/// What `/etc/chandlery/region` says, if it is there; `CHANDLERY_REGION_FILE` names another.
pub(super) fn of_file(surroundings: &Surroundings) -> Result<Option<Item<RegionName>>, Failure> {
    let path = surroundings.path("CHANDLERY_REGION_FILE");
    let named = path.is_some();
    let path = path.unwrap_or_else(|| PathBuf::from(REGION_FILE));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(None),
        Err(error) => {
            let what = format!("the region's file {} cannot be read: {error}", path.display());
            return Err(Failure::usage(what, "make it readable, or say the region with CHANDLERY_REGION"));
        }
    };
    let region = RegionName::parse(text.trim()).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), "the file holds the region's name and nothing else")
    });
    Ok(Some(Item { value: region?, source: Source::Machine(path) }))
}

/// What the cloud says. It is only asked when somebody wants it to be: a container must not talk to that address unasked.
pub(super) fn of_cloud(surroundings: &Surroundings) -> Result<Item<RegionName>, Failure> {
    let endpoint = surroundings.text("CHANDLERY_METADATA")?.unwrap_or_else(|| METADATA.to_owned());
    let address = metadata_address(&endpoint).ok_or_else(|| {
        let hint = "write http:// and an IP address, with a port if it is not 80; a name could be anybody's";
        Failure::usage("CHANDLERY_METADATA is not the address of a metadata service", hint)
    })?;
    match inquire(address, &endpoint).unwrap_or_else(|error| Told::Nothing(error.to_string())) {
        Told::Region(region, service) => Ok(Item { value: region, source: Source::Metadata(service) }),
        Told::Nothing(why) => Err(Failure::new(
            Exit::NotFound,
            format!("the cloud's metadata service at {endpoint} does not tell the region: {why}"),
            "say the region with --region or CHANDLERY_REGION, or write it into /etc/chandlery/region",
        )),
    }
}

fn inquire(address: SocketAddr, endpoint: &str) -> io::Result<Told> {
    let mut inquiry = Inquiry::default();
    loop {
        let (status, body) = ask(address, &inquiry.request(endpoint))?;
        if let Some(told) = inquiry.answer(status, body.as_bytes()) {
            return Ok(told);
        }
    }
}

/// One request and the status and body of its answer, which is closed after it.
fn ask(address: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream.take(MOST_BYTES));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    let mut length = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(invalid());
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let mut body = String::new();
    reader.take(length.unwrap_or(MOST_BYTES)).read_to_string(&mut body)?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        Surroundings { variables, folder: PathBuf::from("/") }
    }

    /// Answers as many requests as there are answers, one after the other, and gives back what it was asked.
    fn service(answers: Vec<(&'static str, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let answering = thread::spawn(move || {
            answers
                .into_iter()
                .map(|(status, body)| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut asked = String::new();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while !asked.ends_with("\r\n\r\n") {
                        reader.read_line(&mut asked).unwrap();
                    }
                    // Kept open for a moment: a client must not wait for the end where the length is said.
                    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
                    asked
                })
                .collect()
        });
        (endpoint, answering)
    }

    fn region_of(endpoint: &str) -> Result<(String, String), Failure> {
        let item = of_cloud(&surroundings(&[("CHANDLERY_METADATA", endpoint)]))?;
        Ok((item.value.to_string(), item.source.to_string()))
    }

    #[test]
    fn ec2_is_asked_with_a_token() {
        let (endpoint, answering) = service(vec![("200 OK", "AQAEAFake=="), ("200 OK", "eu-west-1")]);
        let found = region_of(&endpoint).unwrap();
        assert_eq!(found, ("eu-west-1".to_owned(), "EC2's metadata service".to_owned()));
        let asked = answering.join().unwrap();
        assert!(asked[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[0].contains("\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n"), "{}", asked[0]);
        assert!(asked[1].starts_with("GET /latest/meta-data/placement/region HTTP/1.1\r\n"), "{}", asked[1]);
        assert!(asked[1].contains("\r\nX-aws-ec2-metadata-token: AQAEAFake==\r\n"), "{}", asked[1]);
    }

    #[test]
    fn digital_ocean_is_asked_where_it_is_not_ec2() {
        for refusal in ["404 Not Found", "405 Method Not Allowed", "403 Forbidden"] {
            let (endpoint, answering) = service(vec![(refusal, "no"), ("200 OK", "sfo3\n")]);
            let found = region_of(&endpoint).unwrap();
            assert_eq!(found, ("sfo3".to_owned(), "DigitalOcean's metadata service".to_owned()));
            assert!(answering.join().unwrap()[1].starts_with("GET /metadata/v1/region HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error_that_says_what_to_do() {
        for answers in [
            vec![("404 Not Found", ""), ("404 Not Found", "")],
            vec![("200 OK", "token"), ("200 OK", "<html>")],
            vec![("200 OK", "token"), ("401 Unauthorized", ""), ("404 Not Found", "")],
            // A token that would be more than one header.
            vec![("200 OK", "a\r\nX: b"), ("404 Not Found", "")],
        ] {
            let (endpoint, answering) = service(answers);
            let failure = region_of(&endpoint).unwrap_err();
            assert!(failure.exit == Exit::NotFound && failure.hint.contains("/etc/chandlery/region"), "{failure}");
            answering.join().unwrap();
        }
        // Nobody answers, though the connection is made.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = region_of(&format!("http://{}", silent.local_addr().unwrap())).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        for endpoint in ["https://169.254.169.254", "http://metadata.example", "169.254.169.254", "http://"] {
            assert_eq!(region_of(endpoint).unwrap_err().exit, Exit::Usage, "{endpoint}");
        }
    }

    #[test]
    fn the_file_holds_a_name_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let named = || of_file(&surroundings(&[("CHANDLERY_REGION_FILE", path.to_str().unwrap())]));
        assert_eq!(named().unwrap_err().exit, Exit::Usage, "a file that was named has to be there");
        fs::write(&path, "eu-west-1\n").unwrap();
        let item = named().unwrap().unwrap();
        assert_eq!((item.value.as_str(), item.source), ("eu-west-1", Source::Machine(path.clone())));
        for text in ["", "EU", "a b", "base", "eu\nus"] {
            fs::write(&path, text).unwrap();
            assert!(named().unwrap_err().what.contains("region"), "{text:?}");
        }
    }
}
