//! The report in the XML that pipelines read, as Jenkins' schema (junit-10.xsd) has it: a suite a region, and in it a case for
//! each declaration, so that they count what was looked at and not only what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chandlery_wire::api::{Declaration, Finding, FindingKind};
use chandlery_wire::{EntryName, RegionName, ServiceName};

use super::{Judged, Report};
use crate::context::project::Severity;

/// One thing that was looked at, and what was found.
struct Case<'a> {
    name: String,
    findings: Vec<&'a Judged<'a>>,
}

impl Case<'_> {
    fn failed(&self) -> bool {
        self.findings.iter().any(|one| one.severity == Severity::Error)
    }
}

/// What a finding and a declaration have in common.
type About<'a> = (Option<&'a RegionName>, &'a EntryName, Option<&'a ServiceName>);

pub(super) fn write<'a>(report: &'a Report<'a>, declarations: &'a [Declaration], place: &str) -> String {
    let mut found: BTreeMap<About<'a>, Vec<&'a Judged<'a>>> = BTreeMap::new();
    for judged in &report.findings {
        let Finding { region, name, service, .. } = judged.finding;
        found.entry((region.as_ref(), name, service.as_ref())).or_default().push(judged);
    }
    let mut suites: Vec<(String, Vec<Case<'a>>)> = Vec::new();
    let regions: Vec<Option<&'a RegionName>> = match report.regions.is_empty() {
        true => vec![None],
        false => report.regions.iter().map(Some).collect(),
    };
    for region in regions {
        let applies =
            |one: &&'a Declaration| one.regions.is_empty() || region.is_some_and(|region| one.regions.contains(region));
        let case = |one: &'a Declaration| {
            let findings = found.remove(&(region, &one.name, one.service.as_ref())).unwrap_or_default();
            Case { name: title(&one.name, one.service.as_ref()), findings }
        };
        let name = region.map_or_else(|| place.to_owned(), |region| format!("{place}/{region}"));
        suites.push((name, declarations.iter().filter(applies).map(case).collect()));
    }
    // What nothing declares, and what nobody reads, in whichever region.
    let case = |((_, name, service), findings): (About<'a>, Vec<&'a Judged<'a>>)| Case {
        name: title(name, service),
        findings,
    };
    suites.push((format!("{place}: beside what is declared"), found.into_iter().map(case).collect()));
    suites.retain(|(_, cases)| !cases.is_empty());
    document(&suites)
}

fn title(name: &EntryName, service: Option<&ServiceName>) -> String {
    service.map_or_else(|| name.to_string(), |service| format!("{service}: {name}"))
}

fn document(suites: &[(String, Vec<Case<'_>>)]) -> String {
    let failed = |cases: &[Case<'_>]| cases.iter().filter(|case| case.failed()).count();
    let tests: usize = suites.iter().map(|(_, cases)| cases.len()).sum();
    let failures: usize = suites.iter().map(|(_, cases)| failed(cases)).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ =
        writeln!(text, "<testsuites name=\"chandlery check\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">");
    for (name, cases) in suites {
        let (name, tests, failures) = (escape(name), cases.len(), failed(cases));
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">"
        );
        cases.iter().for_each(|case| write_case(&mut text, &name, case));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn write_case(text: &mut String, suite: &str, case: &Case<'_>) {
    let head = format!("    <testcase classname=\"{suite}\" name=\"{}\" time=\"0\"", escape(&case.name));
    let details: Vec<&str> = case.findings.iter().map(|one| one.finding.detail.as_str()).collect();
    let detail = escape(&details.join("; "));
    let _ = match case.findings.first() {
        None => writeln!(text, "{head}/>"),
        Some(first) if case.failed() => {
            let kind = kind(first.finding.kind);
            writeln!(text, "{head}><failure type=\"{kind}\" message=\"{detail}\"/></testcase>")
        }
        Some(_) => writeln!(text, "{head}><system-out>warning: {detail}</system-out></testcase>"),
    };
}

/// As the JSON has it.
fn kind(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Missing => "missing",
        FindingKind::Empty => "empty",
        FindingKind::Unresolvable => "unresolvable",
        FindingKind::Shape => "shape",
        FindingKind::Secrecy => "secrecy",
        FindingKind::Undeclared => "undeclared",
        FindingKind::Unread => "unread",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0, 2.2: no control characters, and these two are none.
            sign if sign.is_control() || matches!(sign, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            sign => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(name: &str, regions: &[&str]) -> Declaration {
        Declaration {
            name: EntryName::parse(name).unwrap(),
            service: Some(ServiceName::parse("app").unwrap()),
            required: true,
            empty: false,
            secret: None,
            pattern: None,
            regions: regions.iter().map(|&region| RegionName::parse(region).unwrap()).collect(),
        }
    }

    fn finding(kind: FindingKind, of: &Declaration, region: Option<&str>, detail: &str) -> Finding {
        let region = region.map(|region| RegionName::parse(region).unwrap());
        Finding { kind, name: of.name.clone(), region, service: of.service.clone(), detail: detail.to_owned() }
    }

    const EXPECTED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="chandlery check" tests="4" failures="1" errors="0">
  <testsuite name="a/b/eu" tests="2" failures="0" errors="0" skipped="0">
    <testcase classname="a/b/eu" name="app: ONE" time="0"/>
    <testcase classname="a/b/eu" name="app: TWO" time="0"/>
  </testsuite>
  <testsuite name="a/b/us" tests="1" failures="1" errors="0" skipped="0">
    <testcase classname="a/b/us" name="app: ONE" time="0"><failure type="missing" message="is &lt;not&gt; &quot;set&quot; &amp; �[2J; is plain"/></testcase>
  </testsuite>
  <testsuite name="a/b: beside what is declared" tests="1" failures="0" errors="0" skipped="0">
    <testcase classname="a/b: beside what is declared" name="TWO" time="0"><system-out>warning: is set in eu</system-out></testcase>
  </testsuite>
</testsuites>
"#;

    #[test]
    fn a_case_for_each_declaration_in_each_of_its_regions() {
        let (one, two) = (declaration("ONE", &[]), declaration("TWO", &["eu"]));
        let regions = ["eu", "us"].map(|region| RegionName::parse(region).unwrap());
        let found = [
            finding(FindingKind::Missing, &one, Some("us"), "is <not> \"set\" & \u{1b}[2J"),
            finding(FindingKind::Secrecy, &one, Some("us"), "is plain"),
            Finding { service: None, ..finding(FindingKind::Undeclared, &two, None, "is set in eu") },
        ];
        let judged = |at: usize, severity| Judged { severity, finding: &found[at] };
        let report = Report {
            ok: false,
            revision: 1,
            regions: &regions,
            checked: 3,
            findings: vec![judged(0, Severity::Error), judged(1, Severity::Error), judged(2, Severity::Warning)],
            reads_known_since: None,
        };
        assert_eq!(write(&report, &[one, two], "a/b"), EXPECTED);
    }
}
