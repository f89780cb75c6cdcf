//! Formats the content of the sources as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::list::{Contents, Count, Medium};
use super::medium::{Compared, Named};
use crate::progress::text;

/// Maximum number of entries of a kind in the table. The JSON contains all.
const TOLD: usize = 20;

/// Returns the table. If `wide` is set, the table contains the UIDs of studies and series, and no
/// text is truncated.
pub fn table(contents: &Contents, index: &str, wide: bool) -> String {
    let mut rows = vec![Row { what: String::new(), figures: ["instances", "size", "index"].map(Into::into), uid: "" }];
    for (id, patient) in &contents.patients {
        let who = if id.is_empty() { "patient without ID" } else { id };
        rows.push(Row::new(0, &[who, &patient.name], patient.count(), ""));
        for (uid, study) in &patient.studies {
            let accession = if study.accession.is_empty() { "" } else { "accession" };
            let date = if study.date.is_empty() { "undated" } else { &study.date };
            rows.push(Row::new(2, &[date, &study.description, accession, &study.accession], study.count(), uid));
            for (uid, series) in &study.series {
                let words = ["series", &series.number, &series.modality, &series.description];
                rows.push(Row::new(4, &words, series.count, uid));
            }
        }
    }
    let mut out = String::new();
    let widest = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    let width = if wide { widest } else { widest.min(NARROW) };
    for Row { what, figures: [instances, bytes, state], uid } in &rows {
        let uid = if wide { uid } else { "" };
        let what = cut(what, width);
        let line = format!("{what:<width$} {instances:>9} {bytes:>8}  {state:<10} {uid}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let all = contents.count();
    let studies = contents.patients.values().map(|patient| patient.studies.len());
    let series =
        contents.patients.values().flat_map(|patient| patient.studies.values().map(|study| study.series.len()));
    let [patients, studies, series] = [contents.patients.len(), studies.sum(), series.sum()].map(|n| n as u64);
    let [patients, studies, series, instances, indexed] =
        [patients, studies, series, all.instances, all.indexed].map(text::count);
    let bytes = text::bytes(all.bytes);
    let _ = writeln!(
        out,
        "\npatients {patients}, studies {studies}, series {series}, instances {instances}, {bytes}\nof these instances {index} has {indexed}, by their UIDs"
    );
    if all.instances == 0 && contents.not_selected > 0 {
        let _ = writeln!(
            out,
            "NOTHING MATCHES the selection: check the spelling of --patient, --study, --accession and --modality"
        );
    }
    let others =
        [(contents.repeated, "further files of these instances"), (contents.not_selected, "files not selected")];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(out, "{} {what}", text::count(count));
    }
    for (rule, count) in &contents.skipped {
        let _ = writeln!(out, "{} skipped by rule: {}", text::count(*count), rule.describe());
    }
    let listed = [
        (&contents.rejected, "files without an instance"),
        (&contents.stubs, "stubs and links, not read"),
        (&contents.directories_unreadable, "DIRECTORIES UNREADABLE"),
        (&contents.directories_skipped, "directories not looked into"),
    ];
    for (paths, what) in listed {
        let lines = paths.iter().map(|(path, why)| format!("{}: {why}", text::path(path)));
        told(&mut out, what, lines.collect());
    }
    contents.media.iter().for_each(|medium| of_medium(&mut out, medium));
    out
}

/// Maximum width of the text, so that the text and the figures beside it fit on a terminal of 80
/// columns.
const NARROW: usize = 48;

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

struct Row<'a> {
    what: String,
    figures: [String; 3],
    uid: &'a str,
}

impl<'a> Row<'a> {
    fn new(indent: usize, words: &[&str], count: Count, uid: &'a str) -> Self {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        let state = match count.state() {
            "partly" => format!("has {}", text::count(count.indexed)),
            state => state.to_owned(),
        };
        let figures = [text::count(count.instances), text::bytes(count.bytes), state];
        Row { what: format!("{:indent$}{}", "", text::path(words.join("  ").as_ref())), figures, uid }
    }
}

fn told(out: &mut String, what: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "{} {what}", text::count(lines.len() as u64));
    for line in lines.iter().take(TOLD) {
        let _ = writeln!(out, "  {line}");
    }
    if lines.len() > TOLD {
        let _ = writeln!(out, "  ...");
    }
}

fn of_medium(out: &mut String, medium: &Medium) {
    let shown = text::path(&medium.dicomdir);
    let compared = match &medium.compared {
        Err(why) => {
            let _ = writeln!(out, "{shown}: cannot be read: {why}");
            return;
        }
        Ok(compared) => compared,
    };
    let cut = if compared.is_cut { ", and ends before its end" } else { "" };
    let all = if compared.agrees() { ", all of them on the medium" } else { "" };
    let _ = writeln!(out, "{shown}\n  names {} files{cut}{all}", text::count(compared.names));
    if medium.not_named > 0 {
        let _ = writeln!(out, "  does not name {} instances that are beside it", text::count(medium.not_named));
    }
    let name = |named: &Named| format!("{} ({})", text::path(named.file.as_ref()), named.sop_instance_uid);
    told(out, "of them missing on the medium", compared.missing.iter().map(name).collect());
    told(out, "of them no instance that can be read", compared.unreadable.iter().map(name).collect());
    let others = compared.others.iter().map(|(named, found)| format!("{} holds {found}", name(named)));
    told(out, "of them another instance", others.collect());
}

pub fn json(contents: &Contents, index: &str) -> String {
    let patients = contents.patients.iter().map(|(id, patient)| {
        let studies = patient.studies.iter().map(|(uid, study)| {
            let series = study.series.iter().map(|(uid, series)| {
                let own = json!({
                    "uid": uid, "number": series.number, "modality": series.modality,
                    "description": series.description,
                });
                counted(own, series.count)
            });
            let own = json!({
                "uid": uid, "date": study.date, "description": study.description, "accession": study.accession,
                "series": series.collect::<Vec<_>>(),
            });
            counted(own, study.count())
        });
        let own = json!({"id": id, "name": patient.name, "studies": studies.collect::<Vec<_>>()});
        counted(own, patient.count())
    });
    let paths = |paths: &std::collections::BTreeMap<std::path::PathBuf, String>| -> Vec<Json> {
        paths.iter().map(|(path, why)| json!({"path": path.to_string_lossy(), "reason": why})).collect()
    };
    let skipped: Vec<Json> =
        contents.skipped.iter().map(|(rule, count)| json!({"rule": rule.describe(), "files": count})).collect();
    let all = json!({
        "index": index,
        "patients": patients.collect::<Vec<_>>(),
        "further_files": contents.repeated,
        "not_selected": contents.not_selected,
        "skipped": skipped,
        "rejected": paths(&contents.rejected),
        "stubs": paths(&contents.stubs),
        "directories_unreadable": paths(&contents.directories_unreadable),
        "directories_skipped": paths(&contents.directories_skipped),
        "media": contents.media.iter().map(medium).collect::<Vec<_>>(),
    });
    format!("{:#}\n", counted(all, contents.count()))
}

fn counted(mut own: Json, count: Count) -> Json {
    own["instances"] = count.instances.into();
    own["bytes"] = count.bytes.into();
    own["indexed"] = count.indexed.into();
    own["state"] = count.state().into();
    own
}

fn medium(medium: &Medium) -> Json {
    let named = |named: &Named| json!({"file": named.file, "uid": named.sop_instance_uid});
    let dicomdir = medium.dicomdir.to_string_lossy();
    match &medium.compared {
        Err(why) => json!({"dicomdir": dicomdir, "error": why}),
        Ok(Compared { names, is_cut, missing, unreadable, others, .. }) => json!({
            "dicomdir": dicomdir,
            "names": names,
            "is_cut": is_cut,
            "missing": missing.iter().map(named).collect::<Vec<_>>(),
            "not_readable": unreadable.iter().map(named).collect::<Vec<_>>(),
            "other_instances": others.iter().map(|(one, found)| {
                json!({"file": one.file, "uid": one.sop_instance_uid, "found": found})
            }).collect::<Vec<_>>(),
            "not_named": medium.not_named,
        }),
    }
}
