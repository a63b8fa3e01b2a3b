//! The report in the XML that pipelines read: a suite a region, a failure a finding.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Judged, Report};
use crate::context::project::Severity;

pub(super) fn write(report: &Report<'_>, place: &str) -> String {
    let mut suites: BTreeMap<String, Vec<&Judged<'_>>> = BTreeMap::new();
    for region in report.regions {
        suites.entry(format!("{place}/{region}")).or_default();
    }
    for judged in &report.findings {
        let suite =
            judged.finding.region.as_ref().map_or_else(|| place.to_owned(), |region| format!("{place}/{region}"));
        suites.entry(suite).or_default().push(judged);
    }
    let failures = |findings: &[&Judged<'_>]| findings.iter().filter(|one| one.severity == Severity::Error).count();
    let total: usize = suites.values().map(|findings| failures(findings)).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"chandlery check\" tests=\"{}\" failures=\"{total}\">\n",
        report.checked.max(report.findings.len() as u64)
    );
    // Writing to a String cannot fail.
    for (suite, findings) in suites {
        let name = escape(&suite);
        let tests = findings.len().max(1);
        let failed = failures(&findings);
        let _ = writeln!(text, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\">");
        if findings.is_empty() {
            let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"all that is declared\"/>");
        }
        for Judged { severity, finding } in findings {
            let service = finding.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
            let case = escape(&format!("{service}{}", finding.name));
            let detail = escape(&finding.detail);
            let _ = match severity {
                Severity::Error => writeln!(
                    text,
                    "    <testcase classname=\"{name}\" name=\"{case}\"><failure message=\"{detail}\"/></testcase>"
                ),
                _ => writeln!(
                    text,
                    "    <testcase classname=\"{name}\" name=\"{case}\"><system-out>warning: {detail}</system-out></testcase>"
                ),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            sign if sign.is_control() => escaped.push('\u{fffd}'),
            sign => escaped.push(sign),
        }
    }
    escaped
}
