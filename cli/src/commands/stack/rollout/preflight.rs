//! Everything that can be known before anything is changed: every Docker answers, every region has what the files ask for,
//! and what runs where now.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use chandlery_wire::RegionName;
use ring::digest;

use super::super::bundles::Bundles;
use super::super::check;
use super::super::dock::Dock;
use super::super::docker::Runner;
use super::super::interrupt::in_time;
use super::super::render::{Prepared, Site};
use super::health::{self, Container};
use super::plan::Stop;
use super::record;
use crate::compose::overlay::fingerprint;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// How long a Docker may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stop, and all that is known of it.
pub(super) struct Ready<'a> {
    pub(super) stop: &'a Stop,
    pub(super) prepared: Prepared<'a>,
    /// Its own folder, where tokens and records are.
    pub(super) folder: PathBuf,
    pub(super) now: Vec<Container>,
    pub(super) aim: Aim,
}

/// What a region is to get.
#[derive(Debug, Clone, Default)]
pub(super) struct Aim {
    pub(super) revision: u64,
    /// Tells it from anything else that could be rolled out.
    pub(super) target: String,
}

/// # Errors
/// Names every Docker that does not answer, or everything that some region lacks. Nothing has been changed then.
pub(super) fn preflight<'a>(
    stops: &'a [Stop],
    context: &'a Context,
    runner: &Runner,
    root: &Prepared<'_>,
) -> Result<Vec<Ready<'a>>, Failure> {
    let architectures = reach(stops)?;
    let mut found = Vec::new();
    for stop in stops {
        let folder = root.state.folder.join("hosts").join(stop.key());
        record::make(&folder)?;
        let site = Site { region: stop.region.clone(), folder: folder.clone() };
        let prepared = Prepared::at(&stop.stack, context, runner.at(stop.dock.clone()), Some(&site))?;
        found.push((stop, prepared, folder));
    }
    apart(&found)?;
    let aims = aims(&found)?;
    let mut ready = Vec::new();
    for ((stop, prepared, folder), architecture) in found.into_iter().zip(architectures) {
        prepared.foresee().map_err(|failure| about(stop, failure))?;
        fits(&prepared.program()?, &architecture).map_err(|failure| about(stop, failure))?;
        let now = health::containers(&stop.dock, &prepared.project)?;
        let aim = aims.get(&stop.region).cloned().unwrap_or_default();
        ready.push(Ready { stop, prepared, folder, now, aim });
    }
    Ok(ready)
}

fn about(stop: &Stop, failure: Failure) -> Failure {
    Failure { what: format!("{}: {}", stop.key(), failure.what), ..failure }
}

/// Asks every Docker at once; each one's architecture.
pub(super) fn reach(stops: &[Stop]) -> Result<Vec<String>, Failure> {
    let answers: Vec<Result<String, String>> = thread::scope(|scope| {
        let asked: Vec<_> = stops.iter().map(|stop| scope.spawn(|| version(&stop.dock))).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("it could not be asked".to_owned()))).collect()
    });
    let silent = stops.iter().zip(&answers).filter_map(|(stop, answer)| {
        let why = answer.as_ref().err()?;
        Some(format!("{} ({}): {why}", stop.region, stop.dock))
    });
    let silent: Vec<String> = silent.collect();
    if silent.is_empty() {
        return Ok(answers.into_iter().flatten().collect());
    }
    let hint = "try `docker --host … version`, or `--context`; then look at [hosts] in chandlery.toml";
    Err(Failure::new(Exit::Unreachable, "not every region's Docker can be reached, and nothing was changed", hint)
        .with_faults(silent))
}

/// One Docker may have two addresses, and the second turn would take the first one's containers away. A machine that was
/// copied may have the other's id, but hardly its name too. Where a Docker says neither, nothing is known.
fn apart(found: &[(&Stop, Prepared<'_>, PathBuf)]) -> Result<(), Failure> {
    let daemons: Vec<Option<String>> = thread::scope(|scope| {
        let asked: Vec<_> = found.iter().map(|(stop, ..)| scope.spawn(|| stop.dock.daemon())).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_default()).collect()
    });
    for (at, (stop, prepared, _)) in found.iter().enumerate() {
        for (before, (other, others, _)) in found[..at].iter().enumerate() {
            if daemons[at].is_some() && daemons[at] == daemons[before] && prepared.project == others.project {
                let what = format!(
                    "{} ({}) and {} ({}) are the same Docker, and both would be its project {}; nothing was changed",
                    other.key(),
                    other.dock,
                    stop.key(),
                    stop.dock,
                    prepared.project
                );
                let hint = "a host holds one region's stack: correct [hosts] in chandlery.toml, or --host. If they are two \
                            machines, one is a copy: give it a hostname of its own, and start its Docker again";
                return Err(Failure::usage(what, hint));
            }
        }
    }
    Ok(())
}

/// The server's architecture, as Docker says it; or its last words. A machine that is away says nothing for minutes.
fn version(dock: &Dock) -> Result<String, String> {
    let mut command = dock.docker(["version", "--format", "{{.Server.Arch}}"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("docker cannot be started: {error}"))?;
    let Some(status) = in_time(&mut child, PATIENCE).map_err(|error| error.to_string())? else {
        return Err(format!("it did not answer in {} s", PATIENCE.as_secs()));
    };
    let (mut said, mut complained) = (String::new(), String::new());
    let _ = child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut said));
    let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut complained));
    match status.success() {
        true => Ok(said.trim().to_owned()),
        false => Err(complained.trim().lines().last().unwrap_or("it says nothing").to_owned()),
    }
}

/// What each region is to get, if each has all that the files ask for.
fn aims(found: &[(&Stop, Prepared<'_>, PathBuf)]) -> Result<BTreeMap<RegionName, Aim>, Failure> {
    let mut aims: BTreeMap<RegionName, Aim> = BTreeMap::new();
    let mut faults = Vec::new();
    for (stop, prepared, _) in found {
        if aims.contains_key(&stop.region) {
            continue;
        }
        let bundles = Bundles { client: &prepared.client, stack: &prepared.stack, environment: &prepared.environment };
        let mut context = digest::Context::new(&digest::SHA256);
        for path in &prepared.loaded.files {
            context.update(&fs::read(path).unwrap_or_default());
        }
        let mut revision = 0;
        for service in prepared.services() {
            let project = &prepared.loaded.project;
            let optional = &prepared.args.optional;
            let (lacks, bundle) = check::of_service(&bundles, project, service, Some(&stop.region), optional)?;
            faults.extend(
                lacks.iter().map(|lack| format!("{} in {}: {}: {}", service.name, stop.region, lack.name, lack.detail)),
            );
            let Some(bundle) = bundle else { continue };
            revision = revision.max(bundle.revision);
            let image = service.image.as_deref().unwrap_or_default();
            context.update(format!("\n{} {image} {}", service.name, fingerprint(&[bundle])).as_bytes());
        }
        let target = context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        aims.insert(stop.region.clone(), Aim { revision, target });
    }
    if faults.is_empty() {
        return Ok(aims);
    }
    let hint = "set what is missing, or import it; `chandlery stack check` shows it for every region";
    Err(Failure::failed("the store does not give all that the files ask for, and nothing was changed", hint)
        .with_faults(faults))
}

/// Whether a program runs on a machine: what stands in the head of its file (ELF, `e_machine`) against Docker's word.
fn fits(program: &std::path::Path, architecture: &str) -> Result<(), Failure> {
    let mut head = [0_u8; 20];
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut head));
    let machine = u16::from_le_bytes([head[18], head[19]]);
    let own = match (read.is_ok() && head.starts_with(b"\x7fELF"), machine) {
        (true, 62) => "amd64",
        (true, 183) => "arm64",
        (true, 40) => "arm",
        (true, 3) => "386",
        // Not known here: then it is the machine's to say.
        _ => return Ok(()),
    };
    if own == architecture || architecture.is_empty() {
        return Ok(());
    }
    let what = format!("its Docker is of {architecture}, and {} is for {own}", program.display());
    Err(Failure::usage(what, "name the one for that machine with `entrypoint = …` beside its host in chandlery.toml"))
}
