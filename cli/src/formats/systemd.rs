//! systemd's `EnvironmentFile=`: double quotes, with a backslash before what is special in them (systemd.exec(5)).

use super::{Variable, text_of, write_each};

pub(crate) fn write(variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    write_each(variables, |text, name, value| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"=\"");
        for byte in text_of(value)?.bytes() {
            if matches!(byte, b'"' | b'\\' | b'`' | b'$') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.extend_from_slice(b"\"\n");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use chandlery_wire::{Value, VariableName};

    use super::*;

    #[test]
    fn what_is_special_is_escaped_and_newlines_stay() {
        let (name, value) = (VariableName::parse("A").unwrap(), Value::new("a \"b\" $c \\ `d`\n'e'"));
        let text = write(&[Variable { name: &name, value: &value }]).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "A=\"a \\\"b\\\" \\$c \\\\ \\`d\\`\n'e'\"\n");
    }
}
