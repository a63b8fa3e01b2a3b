//! The seal: where the root key comes from. Here, a key file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64ct::{Base64, Encoding};
use ring::hmac;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::aead::{self, CipherKey, KEY_BYTES};
use super::{EncryptError, SealError};

/// What the line of a key file starts with.
const PREFIX: &str = "chandlery-root-key-v1:";
/// Base64 of 32 bytes, with padding.
const ENCODED_BYTES: usize = 44;
/// HKDF's info for the key that wraps the keyring.
const WRAP_INFO: &[u8] = b"chandlery/v1/wrap";
/// HKDF's info for the root key's name.
const ID_INFO: &[u8] = b"chandlery/v1/root-key-id";
/// Where container engines mount secrets, and systemd its credentials: in memory, for one container or unit.
const MOUNTED: [&str; 2] = ["/run/secrets", "/run/credentials"];

/// The key that everything hangs on. It is in memory once, wiped when dropped, and never in the database.
///
/// ```text
/// file = "chandlery-root-key-v1:" ‖ base64(32 random bytes) ‖ "\n"
/// ```
pub struct RootKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// The root key's name: derived from it, and telling nothing about it. It lies beside every wrapped key, so that the
/// wrong root key and a damaged row are told apart.
///
/// `HKDF-SHA-256(root key, info = "chandlery/v1/root-key-id")`, 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootKeyId(pub(super) [u8; 8]);

impl RootKey {
    /// Makes a new root key and keeps it in a new file of mode 0600, durably: what it wraps is worth nothing without it.
    ///
    /// # Errors
    /// Where there is a file already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, SealError> {
        let key = Self(Box::new(Zeroizing::new(aead::random()?)));
        let mut encoded = Zeroizing::new([0; ENCODED_BYTES]);
        let encoded = Base64::encode(&key.0[..], &mut encoded[..])
            .map_err(|_| io_error(path, "encoded", io::ErrorKind::InvalidData.into()))?;
        let line = Zeroizing::new(format!("{PREFIX}{encoded}\n"));
        write_new(path, line.as_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SealError::Exists { file: path.to_owned() },
            _ => io_error(path, "written", error),
        })?;
        Ok(key)
    }

    /// Reads a key file, if nobody else could.
    ///
    /// The file must belong to the server's user or to root, be no symbolic link, and give no permission to group and
    /// others. Below `/run/secrets` and `/run/credentials` the platform sets the mode (Docker: 0444, systemd: 0440 and an
    /// access list) and may go through a symbolic link (Kubernetes), in memory that only this container or unit sees:
    /// there, who may read is left to the platform, and only write permission is refused.
    ///
    /// # Errors
    /// Says what is wrong with the file and what to do, and nothing of what is in it.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let real = fs::canonicalize(path).map_err(|error| io_error(path, "read", error))?;
        let mounted = MOUNTED.iter().any(|mount| real.starts_with(mount));
        if mounted { Self::load_file(&real, 0o022) } else { Self::load_file(path, 0o077) }
    }

    fn load_file(path: &Path, refused: u32) -> Result<Self, SealError> {
        let unsafe_file = |fault: String, hint| SealError::Unsafe { file: path.to_owned(), fault, hint };
        let mut file = open_no_follow(path).map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                unsafe_file("is a symbolic link".to_owned(), "give the path of the file itself")
            }
            _ => io_error(path, "read", error),
        })?;
        let metadata = file.metadata().map_err(|error| io_error(path, "read", error))?;
        if !metadata.is_file() {
            return Err(unsafe_file("is not a regular file".to_owned(), "give the path of a key file"));
        }
        let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
        if mode & refused != 0 {
            let fault = format!("has mode {mode:04o}, which lets other users at it");
            return Err(unsafe_file(fault, "run chmod 600 on it; if others may have read it, make a new root key"));
        }
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            let fault = format!("belongs to user {owner}, who is neither the server's user nor root");
            return Err(unsafe_file(fault, "run chown on it, for the server's user"));
        }
        let mut text = Zeroizing::new([0; PREFIX.len() + ENCODED_BYTES + 2]);
        let length = read_up_to(&mut file, &mut text[..]).map_err(|error| io_error(path, "read", error))?;
        Self::parse(&text[..length]).map_err(|reason| SealError::Format { file: path.to_owned(), reason })
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        if line.is_empty() {
            return Err("it is empty");
        }
        let encoded = line.strip_prefix(PREFIX.as_bytes()).ok_or("it does not start with chandlery-root-key-v1:")?;
        if encoded.len() != ENCODED_BYTES {
            return Err("it is cut off or too long");
        }
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        match Base64::decode(encoded, &mut key[..]) {
            Ok(bytes) if bytes.len() == KEY_BYTES => Ok(Self(key)),
            _ => Err("what follows the prefix is not the base64 of 32 bytes"),
        }
    }

    /// The root key's name.
    #[must_use]
    pub fn id(&self) -> RootKeyId {
        RootKeyId(self.derive(ID_INFO))
    }

    /// `HKDF-SHA-256(root key, info = "chandlery/v1/wrap")`: the key that wraps the keyring.
    pub(super) fn wrapping_key(&self) -> Result<CipherKey, EncryptError> {
        let key = Zeroizing::new(self.derive::<KEY_BYTES>(WRAP_INFO));
        CipherKey::new(&key).map_err(|_| EncryptError::TooLong)
    }

    /// `HKDF-SHA-256(salt = none, ikm = root key, info, N bytes)` (RFC 5869), for up to one block.
    ///
    /// ```text
    /// PRK = HMAC-SHA-256(32 zero bytes, root key)
    /// OKM = HMAC-SHA-256(PRK, info ‖ 0x01), its first N bytes
    /// ```
    ///
    /// Written out because one block cannot fail, and a derivation that could would need a key to return when it did.
    fn derive<const N: usize>(&self, info: &[u8]) -> [u8; N] {
        const { assert!(N <= 32, "one block") };
        let extract = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]), &self.0[..]);
        let mut expand = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, extract.as_ref()));
        expand.update(info);
        expand.update(&[1]);
        let mut derived = [0; N];
        derived.copy_from_slice(&expand.sign().as_ref()[..N]);
        derived
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeyId({self})")
    }
}

fn io_error(path: &Path, action: &'static str, error: io::Error) -> SealError {
    match error.kind() {
        io::ErrorKind::NotFound => SealError::Missing { file: path.to_owned() },
        _ => SealError::Io { file: path.to_owned(), action, cause: error.to_string() },
    }
}

/// Non-blocking, so that a FIFO in the file's place is refused and not waited for.
fn open_no_follow(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Writes a new file, 0600 whatever the umask, and makes it and its name durable; on a failure nothing stays.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(directory).and_then(|directory| directory.sync_all()));
    if written.is_err() {
        // Half a key file would pass for the store's key at the next start.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn key_file(text: &[u8], mode: u32) -> (TempDir, std::path::PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("root.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_new_key_file_is_as_drawn_and_reads_back() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("root.key");
        let key = RootKey::create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(text.starts_with(PREFIX) && text.ends_with('\n') && text.len() == PREFIX.len() + ENCODED_BYTES + 1);
        let again = RootKey::load(&path).unwrap();
        assert_eq!(key.0, again.0);
        assert_eq!(format!("{key:?}"), "RootKey(…)");
        assert_eq!(RootKey::create(&path).unwrap_err(), SealError::Exists { file: path.clone() });
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "the old key is kept");
    }

    #[test]
    fn a_key_that_others_can_reach_is_refused() {
        let line = format!("{PREFIX}{}\n", Base64::encode_string(&[7; 32]));
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o777] {
            let (_directory, path) = key_file(line.as_bytes(), mode);
            let refused = RootKey::load(&path).unwrap_err();
            assert!(refused.detail().contains(&format!("has mode {mode:04o}")), "{refused}");
            assert!(refused.hint().contains("chmod 600"), "{}", refused.hint());
        }
        let (_directory, path) = key_file(line.as_bytes(), 0o444);
        assert!(RootKey::load_file(&path, 0o022).is_ok(), "as Docker mounts it");
        assert!(RootKey::load_file(&key_file(line.as_bytes(), 0o664).1, 0o022).is_err());
        let (_directory, path) = key_file(line.trim_end().as_bytes(), 0o400);
        assert_eq!(RootKey::load(&path).unwrap().0[..], [7; 32], "the newline may be missing");
        let link = path.with_extension("link");
        symlink(&path, &link).unwrap();
        assert!(RootKey::load(&link).unwrap_err().detail().contains("symbolic link"));
        assert!(RootKey::load(path.parent().unwrap()).unwrap_err().detail().contains("not a regular file"));
        assert!(matches!(RootKey::load(Path::new("/nonexistent/root.key")), Err(SealError::Missing { .. })));
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        let line = format!("{PREFIX}{}\n", Base64::encode_string(&[7; 32]));
        let (_directory, path) = key_file(line.as_bytes(), 0o600);
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            println!("skipped: only root can give a file away");
            return;
        }
        assert!(RootKey::load(&path).unwrap_err().detail().contains("belongs to user 12345"));
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_being_quoted() {
        let encoded = Base64::encode_string(&[7; 32]);
        let texts = [
            String::new(),
            "\n".to_owned(),
            encoded.clone(),
            format!("{PREFIX}{}", &encoded[..40]),
            format!("{PREFIX}{encoded}\n\n"),
            format!("{PREFIX}{encoded} "),
            format!("{PREFIX}{encoded}\r\n"),
            format!("{PREFIX}{encoded}{encoded}"),
            format!("{PREFIX}{}", encoded.replace('B', "*")),
            format!("{PREFIX}{}", Base64::encode_string(&[7; 31])),
            format!("{PREFIX}{}", Base64::encode_string(&[7; 33])),
            format!("chandlery-root-key-v2:{encoded}"),
            "x".repeat(100_000),
        ];
        for text in texts {
            let (_directory, path) = key_file(text.as_bytes(), 0o600);
            let refused = RootKey::load(&path).unwrap_err();
            assert!(matches!(refused, SealError::Format { .. }), "{text:?}: {refused}");
            assert!(!format!("{refused} {refused:?} {}", refused.hint()).contains(&encoded[..20]), "{refused}");
        }
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("root.key");
        assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status().unwrap().success());
        assert!(RootKey::load(&path).unwrap_err().detail().contains("not a regular file"));
    }
}
