//! Compares the values that the reader returns with those of other readers: dicom-object, and
//! dcmdump where it is installed.
//!
//! dicom-object aborts the process on deep nesting and allocates memory as lengths declare, so it
//! runs in a child process with limited memory and time. If the child dies, the next one continues
//! with the following file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemDicomObject;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use jiff::civil::{Date, Time};
use pacs_index::dicom::attributes::{Attribute, Form, Item};
use pacs_index::dicom::{ATTRIBUTES, Instance};
use serde_json::{Value as Json, json};

use crate::support::headers::{read, shown};
use crate::support::{Site, fixtures, pydicom, walk};
use crate::traits;

/// The maximum file size in bytes. Larger files take dicom-object many seconds and add nothing
/// about values.
const LONGEST: usize = 1024 * 1024;

/// Returns the fixtures, the table of traits, and pydicom's files if available: path and result of
/// the reader.
fn files(site: &Site) -> Vec<(PathBuf, Instance)> {
    for case in traits::all().into_iter().filter(|case| case.bytes.len() <= LONGEST) {
        site.write(case.name, &case.bytes);
    }
    let mut made = walk(&site.archive());
    made.sort();
    let mut committed = walk(&fixtures().join("archive"));
    committed.sort();
    let all = [committed, made, pydicom::files()].concat();
    all.into_iter().filter_map(|path| Some((path.clone(), read(&fs::read(&path).unwrap()).ok()?))).collect()
}

fn is_disputed(path: &Path) -> bool {
    DISPUTED.iter().any(|name| path.ends_with(name))
}

/// Returns whether a form leaves values unchanged.
fn is_verbatim(form: Form) -> bool {
    matches!(form, Form::Uid | Form::PatientId | Form::Text | Form::PersonName | Form::Integer | Form::Unsigned)
}

/// The minimum numbers of files and values that are compared.
const DICOM_OBJECT: (u32, u32) = (155, 11_307);
const DICOM_OBJECT_WITH_PYDICOM: (u32, u32) = (312, 22_760);
const DCMDUMP: (u32, u32) = (174, 4_324);
const DCMDUMP_WITH_PYDICOM: (u32, u32) = (334, 8_928);

/// Files of the table on which the two readers differ by design.
const DISPUTED: [&str; 10] = [
    // dicom-object trusts the length and loses the elements in between.
    "a meta group length that reaches into the data set",
    // In dicom-object, the last element counts.
    "a tag that stands twice: the first counts",
    // dicom-object decodes the value as single bytes.
    "rows of unknown VR (UN)",
    // dicom-object keeps an invalid UID.
    "a SOP Class UID that is none",
    "a SOP Class UID with an empty component",
    // dicom-object decodes the letters as a floating-point number.
    "a Patient ID with the VR FD",
    // dicom-object keeps numbers that the attribute cannot have.
    "an instance number as SL of two bytes",
    "an instance number as FD with a fraction",
    "rows as FL with a fraction",
    "rows as UV, too great",
];

#[test]
fn what_is_read_is_what_dicom_object_reads() {
    let site = Site::new();
    let files = files(&site);
    let answers = ask(&site, &files.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
    let (mut able, mut compared, mut wrong) = (0, 0, Vec::new());
    for (path, instance) in files.iter().filter(|(path, _)| !is_disputed(path)) {
        let Some(values) = answers.get(path).and_then(Json::as_object) else { continue };
        able += 1;
        for (attribute, expected) in values {
            let i: usize = attribute.parse().unwrap();
            let found = Some(shown(instance.get(i))).filter(|found| found != "-").unwrap_or_default();
            let expected = expected.as_str().unwrap();
            if found != expected {
                wrong.push(format!("{}: {}: {found}, not {expected}", path.display(), ATTRIBUTES[i].column));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let least = if pydicom::directory().is_some() { DICOM_OBJECT_WITH_PYDICOM } else { DICOM_OBJECT };
    println!("dicom-object reads {able} of {} files that are indexed; {compared} values are equal", files.len());
    assert!(able >= least.0 && compared >= least.1, "{able} files, {compared} values compared");
}

/// Returns the child's answers by path. A file on which the child died has none.
fn ask(site: &Site, files: &[&Path]) -> BTreeMap<PathBuf, Json> {
    let mut answers = BTreeMap::new();
    let mut next = 0;
    while next < files.len() {
        let list: String = files[next..].iter().map(|path| format!("{}\n", path.display())).collect();
        fs::write(site.path("list"), list).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "oracles::the_child_that_asks_dicom_object", "--ignored", "--nocapture"])
            .stdin(File::open(site.path("list")).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let answered: Vec<Json> =
            lines.filter_map(|line| serde_json::from_str(line.get(line.find('[')?..)?).ok()).collect();
        child.wait().unwrap();
        // The child died on the file after those that were answered.
        if let Some(path) = files.get(next + answered.len()) {
            println!("dicom-object ends on {}", path.display());
        }
        for (path, answer) in files[next..].iter().zip(&answered) {
            answers.insert(path.to_path_buf(), answer[0].clone());
        }
        next += answered.len() + 1;
    }
    answers
}

/// Reads paths from standard input and writes a line for each: a list of one object, attribute to
/// value, or of null.
#[test]
#[ignore = "what_is_read_is_what_dicom_object_reads starts it"]
fn the_child_that_asks_dicom_object() {
    // SAFETY: the structure lives as long as the call, here and below.
    limit(1 << 30, |limit| unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) });
    for path in std::io::stdin().lines() {
        limit(seconds_of_work() + 2, |limit| unsafe { libc::setrlimit(libc::RLIMIT_CPU, limit) });
        let values = OpenFileOptions::new().open_file(path.unwrap()).ok().map(|object| values(&object));
        println!("\n{}", json!([values]));
    }
}

/// Sets a soft limit, which can be raised again.
fn limit(most: libc::rlim_t, set: impl Fn(&libc::rlimit) -> libc::c_int) {
    assert_eq!(set(&libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY }), 0);
}

fn seconds_of_work() -> libc::rlim_t {
    // SAFETY: a zeroed usage is valid, and the structure lives as long as the call.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) as libc::rlim_t
}

/// Returns dicom-object's value of each attribute whose form does not change it; absent attributes
/// are empty.
fn values(object: &DefaultDicomObject) -> Json {
    let of = |attribute: &Attribute| match attribute.tag {
        tags::TRANSFER_SYNTAX_UID => Some(object.meta().transfer_syntax.clone()),
        tags::SOURCE_APPLICATION_ENTITY_TITLE => {
            Some(object.meta().source_application_entity_title.clone().unwrap_or_default())
        }
        _ => value(object, attribute),
    };
    let verbatim = ATTRIBUTES.iter().enumerate().filter(|(_, attribute)| is_verbatim(attribute.form));
    let trimmed = |value: String| value.trim_matches([' ', '\0']).to_owned();
    Json::Object(verbatim.filter_map(|(i, a)| Some((i.to_string(), trimmed(of(a)?).into()))).collect())
}

fn value(object: &InMemDicomObject, attribute: &Attribute) -> Option<String> {
    let mut inner = object;
    if let Some(path) = attribute.within {
        for sequence in path.sequences {
            let items = inner.element(*sequence).ok().and_then(|element| element.items()).unwrap_or_default();
            match if path.item == Item::First { items.first() } else { items.last() } {
                Some(item) => inner = item,
                None => return Some(String::new()),
            }
        }
    }
    let Ok(element) = inner.element(attribute.tag) else { return Some(String::new()) };
    let is_number = matches!(attribute.form, Form::Integer | Form::Unsigned);
    if element.vr() == VR::UN && is_number {
        return None;
    }
    if element.vr() == VR::UN {
        return Some(String::from_utf8_lossy(&element.to_bytes().ok()?).into_owned());
    }
    let text = element.to_str().ok()?;
    // A numeric column contains the first of several values.
    let text = if is_number { text.split('\\').next()?.to_owned() } else { text.into_owned() };
    Some(text).filter(|text| if is_number { is_plain_number(text) } else { is_plain_text(text) })
}

/// The table of traits covers numbers that are written differently from their form in a database,
/// and numbers that do not fit.
fn is_plain_number(text: &str) -> bool {
    let text = text.trim_matches([' ', '\0']);
    text.is_empty() || text.parse::<i32>().is_ok_and(|number| number.to_string() == text)
}

/// dicom-object decodes the first character set only, and keeps the text after a NUL.
fn is_plain_text(text: &str) -> bool {
    !text.contains('\x1B') && !text.trim_end_matches('\0').contains('\0')
}

#[test]
fn what_is_read_is_what_dcmdump_prints() {
    if Command::new("dcmdump").arg("--version").output().is_err() {
        eprintln!("\n*** DID NOT RUN: dcmdump is not installed. It is in Debian's package dcmtk. ***\n");
        return;
    }
    let site = Site::new();
    let (mut able, mut compared) = (0, 0);
    for (path, instance) in files(&site).into_iter().filter(|(path, _)| !is_disputed(path)) {
        let dumped = dump(&path);
        able += u32::from(!dumped.is_empty());
        for (i, attribute) in ATTRIBUTES.iter().enumerate().filter(|(_, attribute)| attribute.within.is_none()) {
            let tag = format!("{:04x},{:04x}", attribute.tag.group(), attribute.tag.element());
            let Some(expected) = dumped.get(&tag).and_then(|value| expected_of(attribute.form, value)) else {
                continue;
            };
            let found = Some(shown(instance.get(i))).filter(|found| found != "-").unwrap_or_default();
            assert_eq!(found, expected, "{}: {}", path.display(), attribute.column);
            compared += 1;
        }
    }
    let least = if pydicom::directory().is_some() { DCMDUMP_WITH_PYDICOM } else { DCMDUMP };
    println!("dcmdump reads {able} files that are indexed; {compared} values are equal");
    assert!(able >= least.0 && compared >= least.1, "{able} files, {compared} values compared");
}

/// Returns the top-level elements of the data set, without those of items: tag, and the value in
/// brackets or bare.
fn dump(path: &Path) -> BTreeMap<String, String> {
    let said = Command::new("sh")
        .args(["-c", "ulimit -v 1048576; ulimit -t 5; exec dcmdump -q -Un +L -M \"$0\""])
        .arg(path)
        .output()
        .unwrap();
    let mut values = BTreeMap::new();
    for line in
        String::from_utf8_lossy(&said.stdout).lines().filter(|line| line.starts_with('(') && said.status.success())
    {
        let (Some(tag), Some(vr), Some(rest)) = (line.get(1..10), line.get(12..14), line.get(15..)) else { continue };
        // dcmdump prints the bytes of unknown elements as numbers.
        if vr == "UN" {
            continue;
        }
        let value = match rest.strip_prefix('[') {
            Some(text) => text.rsplit_once(']').map_or("", |(value, _)| value),
            None if rest.starts_with('(') => "",
            None => rest.split(' ').next().unwrap_or_default(),
        };
        values.entry(tag.to_owned()).or_insert(value.trim_matches([' ', '\0']).to_owned());
    }
    values
}

/// Returns the column value of a value of dcmdump, if the conversion is obvious.
fn expected_of(form: Form, value: &str) -> Option<String> {
    let is_digits = |count| value.len() == count && value.bytes().all(|byte| byte.is_ascii_digit());
    match form {
        _ if !value.is_ascii() || !is_plain_text(value) => None,
        Form::Uid => is_uid(value).then(|| value.to_owned()),
        Form::PatientId | Form::Text | Form::PersonName => Some(value.to_owned()),
        Form::Date if is_digits(8) => {
            let date = format!("{}-{}-{}", &value[..4], &value[4..6], &value[6..]);
            date.parse::<Date>().ok().filter(|date| date.year() >= 1000).map(|date| date.to_string())
        }
        Form::Time if is_digits(6) => {
            let time = format!("{}:{}:{}", &value[..2], &value[2..4], &value[4..]);
            time.parse::<Time>().ok().map(|time| time.to_string())
        }
        Form::Integer | Form::Unsigned if is_plain_number(value) => Some(value.to_owned()),
        Form::Decimal => value.parse::<f64>().ok().filter(|number| (*number as f32).is_finite()).map(|n| n.to_string()),
        _ => None,
    }
}

fn is_uid(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
