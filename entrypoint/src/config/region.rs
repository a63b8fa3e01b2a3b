//! The region: as it is said; else as the machine's file has it; or, where that is asked for, as its cloud says.

use std::fs::File;
use std::io::{self, Read};

use chandlery_wire::RegionName;
use chandlery_wire::machine::{AUTO, METADATA, REGION_FILE, Told, metadata_address};

use super::settings::Settings;
use super::{name, usage};
use crate::failure::{Exit, Failure};
use crate::fetch;

/// What stands for no region at all, whatever the machine says.
const BASE: &str = "base";
/// A name has 63 characters at most; this leaves room for what is wrong to be told.
const MOST_BYTES: u64 = 256;
const USUAL: &str = "say the region with CHANDLERY_REGION, or write it into /etc/chandlery/region";

/// A region that nobody named, and who told it.
pub(crate) type Found = (RegionName, String);

/// # Errors
/// It cannot be read, or it was to be found out and cannot be.
pub(super) fn find(settings: &Settings<'_>) -> Result<(Option<RegionName>, Option<String>), Failure> {
    let auto = match settings.text("CHANDLERY_REGION")? {
        None => false,
        Some((AUTO, _)) => true,
        Some((BASE, _)) => return Ok((None, None)),
        Some(_) => return Ok((name(settings, "CHANDLERY_REGION", RegionName::parse)?, None)),
    };
    let found = match of_file(settings)? {
        None if auto => Some(of_cloud(settings)?),
        found => found,
    };
    Ok(found.unzip())
}

/// What the machine's file says, if it is there; one that was named has to be.
fn of_file(settings: &Settings<'_>) -> Result<Option<Found>, Failure> {
    let named = settings.text("CHANDLERY_REGION_FILE")?.map(|(path, _)| path);
    let path = named.unwrap_or(REGION_FILE);
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return Err(usage(format!("the region's file {path} cannot be read: {error}"), USUAL)),
    }
    let region = RegionName::parse(String::from_utf8_lossy(&bytes).trim());
    let region = region
        .map_err(|error| usage(format!("{path}: {error}"), "the file holds the region's name and nothing else"))?;
    Ok(Some((region, path.to_owned())))
}

/// What the cloud says. It is only asked when somebody wants it to be: a container must not talk to that address unasked.
fn of_cloud(settings: &Settings<'_>) -> Result<Found, Failure> {
    let said = settings.text("CHANDLERY_METADATA")?.map(|(endpoint, _)| endpoint);
    let endpoint = said.unwrap_or(METADATA);
    let address = metadata_address(endpoint).ok_or_else(|| {
        usage(
            "CHANDLERY_METADATA: it is not the address of a metadata service",
            "write http:// and an IP address, with a port if it is not 80; a name could be anybody's",
        )
    })?;
    let untold = |exit, why: String| {
        let what = format!("the cloud's metadata service at {endpoint} does not tell the region: {why}");
        Failure::new(exit, what, USUAL)
    };
    match fetch::inquire(address, endpoint) {
        Ok(Told::Region(region, service)) => Ok((region, service.to_owned())),
        Ok(Told::Nothing(why)) => Err(untold(Exit::Usage, why)),
        Err(error) => Err(untold(
            Exit::Unreachable,
            match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not answer".to_owned(),
                _ => error.to_string(),
            },
        )),
    }
}
