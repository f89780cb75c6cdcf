//! The report as a self-contained HTML page with figures, charts and tables, readable without
//! scripts and in print.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::finding::{Finding, Severity};
use super::replica::{A_PATIENT, Compared, Difference};
use super::report::AuditReport;
use crate::progress::text;

/// Number of images by day and by modality.
pub type Census = [Vec<(String, u64)>; 2];

/// Maximum number of rows in a table. The JSON report contains all findings.
const ROWS: usize = 1000;

/// Maximum number of bars in the chart of days, which shows the last days. Other charts show a
/// quarter of this number, the longest bars.
const BARS: usize = 60;

pub fn page(report: &AuditReport<'_>, census: &Census, made_at: &str) -> String {
    let findings = &report.done.findings;
    let mut by_check: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_directory: BTreeMap<String, u64> = BTreeMap::new();
    for finding in findings {
        *by_check.entry(finding.check.to_owned()).or_default() += 1;
        if let Some(directory) =
            finding.path.as_ref().and_then(|path| path.replace('\\', "/").rsplit_once('/').map(|(d, _)| d.to_owned()))
        {
            *by_directory.entry(directory).or_default() += 1;
        }
    }
    let [by_day, by_modality] = census;
    let mut out = String::with_capacity(64 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Audit of {index}</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1>Audit of {index}</h1>\n<p class=\"made\">{made_at}, in {took}</p>\n",
        index = escaped(&report.index),
        took = text::duration(report.elapsed),
    );
    figures(&mut out, report);
    if let Some(alarm) = &report.done.alarm {
        let _ = writeln!(out, "<p class=\"alarm\">{}</p>", escaped(alarm));
    }
    let replica = report.compared.map(Compared::to_string);
    for line in
        [report.scope.checks(), report.scope.place()].into_iter().chain(replica).chain(report.missing_rights.clone())
    {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escaped(&line));
    }
    if let Some(gaps) = report.scope.gaps() {
        let _ = writeln!(out, "<p class=\"alarm\">{}</p>", escaped(&gaps));
    }
    out.push_str("<div class=\"charts\">\n");
    chart(&mut out, "Findings by check", &most(by_check));
    chart(&mut out, "Findings by directory", &most(by_directory));
    chart(&mut out, "Images by day received", &last(by_day));
    chart(&mut out, "Images by modality", &most(by_modality.iter().cloned().collect()));
    out.push_str("</div>\n");
    table(&mut out, findings, report);
    differences(&mut out, report.differences());
    let _ = write!(out, "<script>{SCRIPT}</script>\n</body></html>\n");
    out
}

fn figures(out: &mut String, report: &AuditReport<'_>) {
    let done = report.done;
    let of = |severity: Severity| done.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let figures = [
        ("files", done.files, ""),
        ("rows", done.rows, ""),
        ("stubs", done.stubs, ""),
        ("errors", of(Severity::Error), "error"),
        ("warnings", of(Severity::Warning), "warning"),
        ("for information", of(Severity::Info), "info"),
    ];
    out.push_str("<dl class=\"figures\">\n");
    let differ =
        report.compared.map(|compared| ("rows that differ on the replica", compared.differences.len() as u64, "error"));
    for (what, count, class) in figures.into_iter().chain(differ) {
        let class = if count > 0 { class } else { "" };
        let _ = writeln!(out, "<div class=\"{class}\"><dt>{what}</dt><dd>{}</dd></div>", text::count(count));
    }
    out.push_str("</dl>\n");
}

fn most(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(BARS / 4);
    counts
}

fn last(counts: &[(String, u64)]) -> Vec<(String, u64)> {
    counts[counts.len().saturating_sub(BARS)..].to_vec()
}

/// Writes a chart of horizontal bars with the numbers beside them.
fn chart(out: &mut String, title: &str, bars: &[(String, u64)]) {
    if bars.is_empty() {
        return;
    }
    let longest = bars.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let _ = writeln!(out, "<section><h2>{title}</h2><table class=\"chart\">");
    for (label, count) in bars {
        let width = 100.0 * *count as f64 / longest as f64;
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td><svg width=\"100%\" height=\"12\" role=\"presentation\"><rect width=\"{width:.2}%\" \
             height=\"12\"/></svg></td><td class=\"n\">{}</td></tr>",
            escaped(label),
            text::count(*count)
        );
    }
    out.push_str("</table></section>\n");
}

fn table(out: &mut String, findings: &[Finding], report: &AuditReport<'_>) {
    if findings.is_empty() && !report.differences().is_empty() {
        return;
    }
    if findings.is_empty() {
        let nothing = match report.scope.is_finished {
            true => report.scope.nothing_found().replacen("nothing", "Nothing was", 1),
            false => "No finding so far".into(),
        };
        let _ = writeln!(out, "<p>{}.</p>", escaped(&nothing));
        return;
    }
    out.push_str(
        "<h2>Findings</h2>\n<table class=\"findings\"><thead><tr><th>severity</th><th>check</th><th>UID</th><th>path</th>\
         <th>detail</th><th>new</th></tr></thead><tbody>\n",
    );
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    for finding in sorted.iter().take(ROWS) {
        let new = if report.is_new(finding) == Some(true) { "new" } else { "" };
        let path = finding.path.as_ref().map_or(String::new(), |path| text::path(Path::new(path)).to_string());
        let _ = writeln!(
            out,
            "<tr><td class=\"{severity}\">{severity}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{new}</td></tr>",
            finding.check,
            escaped(finding.uid.as_deref().unwrap_or_default()),
            escaped(&path),
            escaped(&finding.detail),
            severity = finding.severity.name(),
        );
    }
    out.push_str("</tbody></table>\n");
    if findings.len() > ROWS {
        let _ = writeln!(out, "<p>The first {} of {}.</p>", ROWS, text::count(findings.len() as u64));
    }
}

/// Writes the rows that differ between the index and its replica.
fn differences(out: &mut String, differences: &[Difference]) {
    if differences.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Replica</h2>\n<table class=\"findings\"><thead><tr><th>table</th><th>row</th><th>difference</th></tr></thead><tbody>\n",
    );
    for Difference { table, key, what } in differences.iter().take(ROWS) {
        let key = escaped(key.as_deref().unwrap_or(A_PATIENT));
        let _ = writeln!(out, "<tr><td class=\"error\">{table}</td><td>{key}</td><td>{what}</td></tr>");
    }
    out.push_str("</tbody></table>\n");
    if differences.len() > ROWS {
        let _ = writeln!(out, "<p>The first {ROWS} of {}.</p>", text::count(differences.len() as u64));
    }
}

/// Escapes a text for HTML. Paths and server names may contain any character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --bar: #4a78b5; --bad: #c0392b; --warn: #b7791f; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 80rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
.made, .note { color: #888; margin: .25rem 0; }
.alarm { border: 2px solid var(--bad); color: var(--bad); padding: .75rem; font-weight: 600; }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.figures div { border: 1px solid var(--line); border-radius: 6px; padding: .5rem 1rem; min-width: 8rem; }
.figures dt { color: #888; font-size: .85rem; } .figures dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.error dd, td.error { color: var(--bad); } .warning dd, td.warning { color: var(--warn); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 2rem; }
table { border-collapse: collapse; width: 100%; }
.chart th { font-weight: normal; text-align: left; width: 45%; overflow-wrap: anywhere; padding-right: .5rem; }
.chart td { vertical-align: middle; } .chart svg { display: block; fill: var(--bar); } .n { text-align: right; width: 6rem; font-variant-numeric: tabular-nums; }
.findings th, .findings td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.findings th, .findings td:nth-child(-n+2) { white-space: nowrap; }
.findings th[role=button] { cursor: pointer; } .findings th[aria-sort=ascending]::after { content: ' \\2191'; } .findings th[aria-sort=descending]::after { content: ' \\2193'; }
@media (max-width: 48rem) { .findings thead { display: none; } .findings tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); } .findings td { display: block; border: 0; padding: .1rem 0; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .findings th[role=button]::after { content: none; } }
";

/// Sorts a table by the column that the user selects. Without scripts, findings are sorted by
/// severity.
const SCRIPT: &str = "
document.querySelectorAll('.findings').forEach(table => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.setAttribute('role', 'button'); head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const text = row => row.cells[column].textContent;
      const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b), undefined, { numeric: true }));
      body.append(...(down ? rows.reverse() : rows));
    };
    head.addEventListener('click', sort);
    head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
  });
});
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_path_cannot_steer_the_page() {
        assert_eq!(escaped("<script>'\"&\u{1b}"), "&lt;script&gt;&#39;&quot;&amp;\u{fffd}");
    }
}
