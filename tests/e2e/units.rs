//! The units of `docs/systemd`, as far as they can be judged without starting them: `machine.rs` starts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chandlery_tests::{Run, skip, workspace};
use tempfile::TempDir;

/// What the units start, and a machine need not have.
const PROGRAMS: [&str; 5] = [
    "/usr/local/bin/chandlery-server",
    "/usr/local/bin/chandlery-entrypoint",
    "/usr/local/bin/chandlery",
    "/usr/bin/app",
    "/usr/bin/docker",
];
const DROP_INS: [&str; 2] = ["chandlery-server.service.d/containers.conf", "app.service.d/user.conf"];

/// Copies of the units in a folder where they can be checked: programs that this machine need not have are `/bin/true`.
struct Units {
    folder: TempDir,
}

impl Units {
    fn new(test: &str, drop_ins: &[&str]) -> Option<Self> {
        if !Path::new("/usr/bin/systemd-analyze").exists() {
            skip(test, "no systemd-analyze; it is in Debian's package systemd");
            return None;
        }
        let folder = TempDir::with_prefix("chandlery-units-").expect("a temporary folder");
        for name in names().iter().map(String::as_str).chain(drop_ins.iter().copied()) {
            let parent = folder.path().join(name).parent().expect("a file is in a folder").to_owned();
            fs::create_dir_all(parent).expect("a folder");
            let text = fs::read_to_string(source().join(name)).expect("a unit");
            let text = PROGRAMS.iter().fold(text, |text, program| {
                // The first word of a command, alone or with arguments.
                let text = text.replace(&format!("={program}\n"), "=/bin/true\n");
                text.replace(&format!("={program} "), "=/bin/true ").replace(&format!("=-{program} "), "=-/bin/true ")
            });
            fs::write(folder.path().join(name), text).expect("a copy");
        }
        // A machine without Docker has no such units.
        fs::write(folder.path().join("docker.service"), "[Service]\nExecStart=/bin/true\n").expect("a file");
        fs::write(folder.path().join("docker.socket"), "[Socket]\nListenStream=/run/docker.sock\n").expect("a file");
        Some(Self { folder })
    }

    fn analyze(&self, args: &[&str], unit: &str) -> Run {
        let path = self.folder.path();
        Run::new("/usr/bin/systemd-analyze")
            .args(args)
            .args([path.join(unit)])
            .env("SYSTEMD_UNIT_PATH", format!("{}:", path.display()))
            .env("SYSTEMD_COLORS", "0")
    }

    /// Everything that systemd has to say about a unit; its exit code alone forgives what it does not understand.
    fn complaints(&self, unit: &str) -> String {
        let output = self.analyze(&["verify", "--man=no", "--recursive-errors=no"], unit).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
        if output.code() == 0 { said } else { format!("{said}ended with {}", output.code()) }
    }

    fn exposure(&self, unit: &str) -> f64 {
        let output = self.analyze(&["security", "--offline=true", "--no-pager"], unit).output();
        let line = output.text().lines().find(|line| line.contains("Overall exposure level")).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("no exposure: {output}"));
        let (_, figure) = line.rsplit_once(": ").expect("a figure");
        figure.split_whitespace().next().and_then(|figure| figure.parse().ok()).expect("a figure")
    }
}

fn source() -> PathBuf {
    workspace().join("docs/systemd")
}

fn names() -> Vec<String> {
    let files = fs::read_dir(source()).expect("the folder is there");
    let names = files.map(|file| file.expect("a folder can be listed").file_name().to_string_lossy().into_owned());
    let mut units: Vec<String> = names.filter(|name| name.ends_with(".service")).collect();
    units.sort();
    assert!(units.len() >= 5, "{units:?}");
    units
}

/// As it is called when it runs: a template needs an instance.
fn instance(unit: &str) -> String {
    unit.replace("@.", "@1.")
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let Some(units) = Units::new("systemd_has_nothing_to_say_about_the_units", &DROP_INS) else { return };
    for unit in names() {
        assert_eq!(units.complaints(&instance(&unit)), "", "{unit}");
    }
    // What would be found: a setting that no systemd knows, and a program that is not there.
    for (from, to) in [("Restart=on-failure", "Restart=on-failures"), ("ExecStart=/bin/true", "ExecStart=/bin/untrue")]
    {
        let units = Units::new("", &[]).expect("it was there");
        let path = units.folder.path().join("chandlery-server.service");
        let text = fs::read_to_string(&path).expect("a unit");
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).expect("a copy");
        assert_ne!(units.complaints("chandlery-server.service"), "", "{to}");
    }
}

#[test]
fn the_units_are_as_closed_as_the_page_says() {
    let Some(units) = Units::new("the_units_are_as_closed_as_the_page_says", &[]) else { return };
    if units.analyze(&["security", "--offline=true"], "app.service").output().code() != 0 {
        return skip(
            "the_units_are_as_closed_as_the_page_says",
            "systemd-analyze here knows no --offline (systemd 250)",
        );
    }
    let mut measured: BTreeMap<String, f64> =
        names().into_iter().map(|unit| (format!("`{unit}`"), units.exposure(&unit))).collect();
    let whole = Units::new("", &DROP_INS).expect("it was there");
    for drop_in in DROP_INS {
        let (unit, conf) = drop_in.split_once(".d/").expect("a unit's folder");
        measured.insert(format!("`{unit}` with `{conf}`"), whole.exposure(unit));
    }

    let page = fs::read_to_string(workspace().join("docs/SYSTEMD.md")).expect("the page");
    let (_, table) = page.split_once("| Unit | Exposure |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let told: BTreeMap<String, f64> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].to_owned(), cells[1].parse().expect("a figure"))
        })
        .collect();
    assert_eq!(told.keys().collect::<Vec<_>>(), measured.keys().collect::<Vec<_>>());
    for (unit, figure) in measured {
        assert!(figure <= told[&unit], "{unit} is more open ({figure}) than the page says ({})", told[&unit]);
    }
}
