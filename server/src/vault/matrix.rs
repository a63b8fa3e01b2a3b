//! The matrix: entries × regions.

use std::collections::BTreeMap;

use chandlery_wire::api::{Matrix, MatrixRow, State};
use chandlery_wire::{EntryName, EnvironmentName, RegionName, ServiceName, StackName};

use super::board::{Board, Slot, require_reading, shown};
use super::fingerprints::{Marker, Names, Shown};
use super::moment::Moment;
use super::operation::{Action, Done};
use super::records::Records;
use super::{Error, Vault};
use crate::access::Caller;

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

#[derive(Debug, Default)]
struct Line {
    base: Option<Shown>,
    overlays: BTreeMap<RegionName, Shown>,
}

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
                let marker =
                    Marker { keyring: &keyring, stack: &of.stack, environment: &of.environment, reveal: of.reveal };
                make(&records, &board, &marker, &of)
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

fn make(records: &Records<'_>, board: &Board, marker: &Marker<'_>, of: &MatrixOf) -> Result<Matrix, Error> {
    let mut lines: BTreeMap<Slot, Line> = BTreeMap::new();
    for (key, rows) in &board.layers {
        for row in rows.iter().filter(|row| of.service.is_none() || row.grant.includes(of.service.as_ref())) {
            let shown = shown(records, marker, key, row)?;
            let line = lines.entry((row.name.clone(), row.grant.clone())).or_default();
            match key.layer.region() {
                None => line.base = Some(shown),
                Some(region) => drop(line.overlays.insert(region.clone(), shown)),
            }
        }
    }
    let all = lines.values().flat_map(|line| line.base.iter().chain(line.overlays.values()));
    let names = Names::of(all);
    let regions = board.row.regions.clone();
    let rows = lines.into_iter().map(|(slot, line)| row(&names, &regions, slot, line)).collect();
    let (stack, environment) = (of.stack.clone(), of.environment.clone());
    Ok(Matrix { stack, environment, revision: board.revision, regions, rows })
}

fn row(
    names: &Names,
    regions: &[RegionName],
    (name, grant): (EntryName, chandlery_wire::Grant),
    line: Line,
) -> MatrixRow {
    let Line { base, overlays } = line;
    let has =
        |region: &RegionName| overlays.get(region).or(base.as_ref()).filter(|shown| shown.state != State::Removed);
    let mut each = regions.iter().map(has);
    let first = each.next().flatten();
    let differs = each.any(|other| match (first, other) {
        (Some(one), Some(other)) => !one.is_like(other),
        (one, other) => one.is_some() != other.is_some(),
    });
    let base = base.map(|shown| names.cell(shown));
    let overlays = overlays.into_iter().map(|(region, shown)| (region, names.cell(shown))).collect();
    MatrixRow { name, grant, base, overlays, differs }
}
