//! `docker run --env-file`: no quotes and no escapes; everything after the first `=` is the value.

use super::{Variable, text_of, write_each};

/// Docker reads lines with a buffer of 64 KiB, and fails on a longer one.
const LONGEST_LINE: usize = 64 * 1024 - 1;

pub(crate) fn write(variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    write_each(variables, |text, name, value| {
        let value = text_of(value)?;
        if value.contains('\n') {
            return Err("holds a newline, which an env-file cannot; deliver it as a file (set --file), or start the \
                        container through chandlery-entrypoint"
                .to_owned());
        }
        if value.ends_with('\r') {
            return Err("ends with a carriage return, which docker would take off".to_owned());
        }
        let line = format!("{name}={value}\n");
        if line.len() > LONGEST_LINE {
            return Err("is longer than the 64 KiB that docker reads in a line; deliver it as a file".to_owned());
        }
        text.extend_from_slice(line.as_bytes());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use chandlery_wire::{Value, VariableName};

    use super::*;

    fn written(value: &str) -> Result<Vec<u8>, Vec<String>> {
        let (name, value) = (VariableName::parse("A").unwrap(), Value::new(value));
        write(&[Variable { name: &name, value: &value }])
    }

    #[test]
    fn values_stand_as_they_are() {
        assert_eq!(written(r#" "q" 'x' $y # z "#).unwrap(), b"A= \"q\" 'x' $y # z \n");
        assert_eq!(written("").unwrap(), b"A=\n");
    }

    #[test]
    fn what_docker_would_misread_is_named() {
        for value in ["a\nb", "a\r", &"x".repeat(LONGEST_LINE)] {
            let faults = written(value).unwrap_err();
            assert!(faults[0].starts_with("A ") && !faults[0].contains("xx"), "{faults:?}");
        }
    }
}
