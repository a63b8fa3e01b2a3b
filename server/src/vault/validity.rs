//! Whether a value can be what it is said to be.

use chandlery_wire::{Code, Delivery, EntryName, MAX_VALUE_BYTES, ServiceName, StackName, Value};

use super::Error;
use super::attributes::Attributes;
use super::view::list;
use crate::resolve::parse;

/// Whether the value can be what it is said to be.
pub(super) fn check(name: &EntryName, attributes: &Attributes, value: &Value) -> Result<(), Error> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::new(
            Code::TooLarge,
            format!("{name} has {} bytes; a value may have {MAX_VALUE_BYTES} (512 KiB)", value.len()),
        )
        .hint("keep large files elsewhere, and the key to them here"));
    }
    let invalid = |detail: String| Err(Error::new(Code::Invalid, detail));
    if attributes.deliver == Delivery::Variable {
        if name.as_variable().is_none() {
            return invalid(
                "is not a name that a variable can have (letters, digits, underscore): deliver it as a file".to_owned(),
            );
        }
        if value.expose_secret().contains(&0) {
            return invalid("has a NUL byte, which no variable can hold: deliver it as a file".to_owned());
        }
    }
    if attributes.template
        && let Err(fault) = parse(value.expose_secret())
    {
        return invalid(format!("is not a template that can be read: {fault}"));
    }
    Ok(())
}

pub(super) fn unknown_service(stack: &StackName, service: &ServiceName, known: &[ServiceName]) -> Error {
    Error::new(Code::NotFound, format!("the stack {stack} has no service {service}; it has {}", list(known)))
        .hint(format!("declare it: chandlery service add {service}"))
}
