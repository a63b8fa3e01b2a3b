//! The flags of `set` and `import` that say what an entry is besides its value.

use chandlery_wire::{Delivery, EntryName, FileAttributes, Grant, Mode, VariableName};

/// What is left out stays as it is; a new entry is a secret variable for all services.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Attributes {
    /// Which services get it: `all`, or names separated by commas.
    #[arg(long = "for", value_name = "SERVICES")]
    pub(crate) grant: Option<Grant>,
    /// It is no secret: shown everywhere.
    #[arg(long, conflicts_with = "secret")]
    pub(crate) plain: bool,
    /// It is a secret: masked everywhere.
    #[arg(long)]
    pub(crate) secret: bool,
    /// Deliver it as a variable of its name.
    #[arg(long, conflicts_with_all = ["file", "mode", "uid", "gid", "file_variable"])]
    pub(crate) variable: bool,
    /// Deliver it as a file of its name in /run/secrets.
    #[arg(long)]
    pub(crate) file: bool,
    /// The file's permissions, in octal; 0400 where nothing is said.
    #[arg(long)]
    mode: Option<Mode>,
    /// The file's owner.
    #[arg(long)]
    uid: Option<u32>,
    /// The file's group.
    #[arg(long)]
    gid: Option<u32>,
    /// A variable that tells the app where the file is; NAME_FILE where no name is given.
    #[arg(long, value_name = "VARIABLE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    file_variable: Option<String>,
}

impl Attributes {
    pub(crate) fn secret(&self) -> Option<bool> {
        (self.plain || self.secret).then_some(self.secret)
    }

    /// How it is delivered, where anything is said about it. Options of a file make it one.
    pub(crate) fn delivery(&self, name: &EntryName) -> Result<Option<Delivery>, String> {
        if self.variable {
            return Ok(Some(Delivery::Variable));
        }
        let Self { mode, uid, gid, file_variable, .. } = self;
        if !self.file && mode.is_none() && uid.is_none() && gid.is_none() && file_variable.is_none() {
            return Ok(None);
        }
        let variable = match file_variable.as_deref() {
            None => None,
            Some("") => Some(name.path_variable()),
            Some(text) => Some(VariableName::parse(text).map_err(|error| format!("--file-variable: {error}"))?),
        };
        let attributes = FileAttributes { mode: mode.unwrap_or_default(), uid: *uid, gid: *gid, variable };
        Ok(Some(Delivery::File(attributes)))
    }
}

/// Who gets an entry, in a sentence.
pub(crate) fn granted(grant: &Grant) -> String {
    match grant {
        Grant::All => "for all services".to_owned(),
        Grant::Services(_) => format!("for {grant}"),
    }
}

/// How an entry is delivered, for a table.
pub(crate) fn delivery_in_words(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Variable => "variable".to_owned(),
        Delivery::File(file) => {
            let mut text = format!("file {}", file.mode);
            let owner = (file.uid, file.gid);
            if owner != (None, None) {
                let part = |id: Option<u32>| id.map(|id| id.to_string()).unwrap_or_default();
                text.push_str(&format!(" {}:{}", part(owner.0), part(owner.1)));
            }
            if let Some(variable) = &file.variable {
                text.push_str(&format!(" {variable}"));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_file_make_it_one() {
        let name = EntryName::parse("mysql_root_password").unwrap();
        let attributes = Attributes { file_variable: Some(String::new()), ..Attributes::default() };
        let delivery = attributes.delivery(&name).unwrap().unwrap();
        assert_eq!(delivery_in_words(&delivery), "file 0400 MYSQL_ROOT_PASSWORD_FILE");
        assert_eq!(Attributes::default().delivery(&name).unwrap(), None);
        let attributes = Attributes { mode: Mode::new(0o440), gid: Some(999), ..Attributes::default() };
        assert_eq!(delivery_in_words(&attributes.delivery(&name).unwrap().unwrap()), "file 0440 :999");
        let attributes = Attributes { file_variable: Some("A-B".to_owned()), ..Attributes::default() };
        assert!(attributes.delivery(&name).is_err());
    }
}
