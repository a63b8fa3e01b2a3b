//! The matrix: entries × regions.

use std::collections::{BTreeMap, HashMap};

use chandlery_wire::api::{Cell, Matrix, MatrixRow, State};
use chandlery_wire::{EntryName, EnvironmentName, Grant, RegionName, ServiceName, StackName};

use super::board::{Board, all_shown, require_reading, sees_a_part};
use super::fingerprints::{Marker, Names};
use super::moment::Moment;
use super::operation::{Action, Done};
use super::records::Records;
use super::{Error, Vault};
use crate::access::Caller;
use crate::crypto::Keyring;
use crate::store::{LayerKey, Row};

/// Which matrix.
#[derive(Debug, Clone)]
pub struct MatrixOf {
    pub stack: StackName,
    pub environment: EnvironmentName,
    /// Only what this service gets.
    pub service: Option<ServiceName>,
    /// A revision or a time.
    pub at: Option<String>,
    /// Show secrets.
    pub reveal: bool,
}

/// Which rows belong together: an entry for a grant.
type Slot<'b> = (&'b EntryName, &'b Grant);

impl Vault {
    /// What the base and each overlay say of every entry that the caller may read.
    ///
    /// # Errors
    /// Where the caller may read nothing there, and where a record is not what was written.
    pub async fn matrix(&self, caller: &Caller, of: MatrixOf) -> Result<Matrix, Error> {
        let action = Action::new("read-matrix").on(format!("{}/{}", of.stack, of.environment));
        self.perform(caller, action, move |core, caller| {
            require_reading(caller, &of.stack, &of.environment)?;
            let keyring = core.keyring();
            let matrix = core.read(|snapshot| {
                let moment = of.at.as_deref().map(|at| Moment::parse(core, snapshot, at)).transpose()?;
                let records = Records::new(snapshot, &keyring).as_of(moment);
                let board = Board::load(&records, caller, &of.stack, &of.environment)?;
                let names = keyring.fingerprinter(&of.stack, &of.environment);
                let marker = Marker { names, reveal: of.reveal };
                let partial = sees_a_part(caller, &of.stack, &of.environment);
                Ok(Matrix { partial, ..make(&board, &keyring, &marker, &of)? })
            })?;
            Ok(match of.reveal {
                true => {
                    let mut names: Vec<String> = matrix.rows.iter().map(|row| row.name.to_string()).collect();
                    names.dedup();
                    Done { detail: Some("secrets shown".into()), ..Done::new(matrix).entries(names) }
                }
                false => Done::new(matrix),
            })
        })
        .await
    }
}

fn make(board: &Board, keyring: &Keyring, marker: &Marker, of: &MatrixOf) -> Result<Matrix, Error> {
    let wanted = |row: &&Row| of.service.is_none() || row.grant.includes(of.service.as_ref());
    let rows = board.layers.iter().flat_map(|(key, rows)| rows.iter().filter(wanted).map(move |row| (key, row)));
    let rows: Vec<(&LayerKey, &Row)> = rows.collect();
    let shown = all_shown(keyring, marker, &rows)?;
    let names = Names::of(shown.iter());
    let mut places: HashMap<Slot<'_>, usize> = HashMap::new();
    let mut lines: Vec<MatrixRow> = Vec::new();
    for ((key, row), shown) in rows.into_iter().zip(shown) {
        let at = *places.entry((&row.name, &row.grant)).or_insert_with(|| {
            lines.push(empty(row));
            lines.len() - 1
        });
        let cell = names.cell(shown);
        match key.layer.region() {
            None => lines[at].base = Some(cell),
            Some(region) => drop(lines[at].overlays.insert(region.clone(), cell)),
        }
    }
    lines.sort_unstable_by(|one, other| (&one.name, &one.grant).cmp(&(&other.name, &other.grant)));
    let regions = board.row.regions.clone();
    for line in &mut lines {
        line.differs = differs(line, &regions);
    }
    let (stack, environment) = (of.stack.clone(), of.environment.clone());
    Ok(Matrix { stack, environment, revision: board.revision, regions, rows: lines, partial: false })
}

fn empty(row: &Row) -> MatrixRow {
    let (name, grant) = (row.name.clone(), row.grant.clone());
    MatrixRow { name, grant, base: None, overlays: BTreeMap::new(), differs: false }
}

/// Whether not all regions have the same.
fn differs(row: &MatrixRow, regions: &[RegionName]) -> bool {
    let has = |region: &RegionName| {
        row.overlays.get(region).or(row.base.as_ref()).filter(|cell| cell.state != State::Removed)
    };
    let mut each = regions.iter().map(has);
    let first = each.next().flatten();
    each.any(|other| match (first, other) {
        (Some(one), Some(other)) => !std::ptr::eq(one, other) && !are_alike(one, other),
        (one, other) => one.is_some() != other.is_some(),
    })
}

/// Whether both say the same: within one answer, the same fingerprint is the same value.
fn are_alike(one: &Cell, other: &Cell) -> bool {
    one.fingerprint == other.fingerprint
        && one.state == other.state
        && (one.secret, one.template, one.reference) == (other.secret, other.template, other.reference)
        && one.deliver == other.deliver
}
