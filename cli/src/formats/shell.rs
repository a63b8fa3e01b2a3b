//! `export NAME='value'`, for `eval` and `.` in a POSIX shell.

use super::{Variable, write_each};

pub(crate) fn write(variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    write_each(variables, |text, name, value| {
        text.extend_from_slice(format!("export {name}=").as_bytes());
        single_quote(text, value);
        text.push(b'\n');
        Ok(())
    })
}

/// In single quotes every byte means itself, except the quote.
pub(crate) fn single_quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            other => text.push(*other),
        }
    }
    text.push(b'\'');
}
