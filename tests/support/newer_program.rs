//! A later version of the program: this version with a higher version number and one more attribute
//! at each level.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::walk;

/// Table, column, column type, and the attribute: the name of its tag, its keyword, and the form of
/// its values.
pub const ATTRIBUTES: [[&str; 6]; 4] = [
    ["Patient", "religion", "VARCHAR(64)", "PATIENT_RELIGIOUS_PREFERENCE", "PatientReligiousPreference", "Text"],
    ["Study", "comments", "TEXT", "STUDY_COMMENTS", "StudyComments", "LongText"],
    ["Series", "laterality", "VARCHAR(16)", "LATERALITY", "Laterality", "UpperCase"],
    ["Image", "acquisition", "INT", "ACQUISITION_NUMBER", "AcquisitionNumber", "Integer"],
];

/// Returns the path of the program after building it. The first build takes minutes.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(build)
}

fn build() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, target) = (temporary.join("newer-program"), temporary.with_file_name("upgrade"));
    copy_source(&source);
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--offline", "--locked", "--bin", "pacs-index", "--target-dir"]).arg(&target);
    assert!(build.current_dir(&source).status().unwrap().success(), "the newer program cannot be built");
    target.join("debug/pacs-index")
}

/// Copies the files that the build needs. Identical files are not written again, so that Cargo does
/// not rebuild them.
fn copy_source(target: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut copied = Vec::new();
    for file in walk(&source.join("src")) {
        let name = file.strip_prefix(source).unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let text = if name.ends_with("dicom/attributes.rs") { with_more_attributes(&text) } else { text };
        put(&target.join(&name), &text);
        copied.push(name);
    }
    for file in walk(&target.join("src")) {
        if !copied.iter().any(|name| file == target.join(name)) {
            fs::remove_file(file).unwrap();
        }
    }
    let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
    // Without the other targets, whose sources are not copied.
    let manifest = read("Cargo.toml");
    put(&target.join("Cargo.toml"), &with_higher_version(manifest.split("\n[[").next().unwrap()));
    put(&target.join("Cargo.lock"), &with_higher_version(&read("Cargo.lock")));
}

fn put(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn with_higher_version(text: &str) -> String {
    let this = concat!("name = \"pacs-index\"\nversion = \"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(text.contains(this), "the version is elsewhere");
    text.replacen(this, "name = \"pacs-index\"\nversion = \"99.0.0\"", 1)
}

/// Adds an attribute after the first ones of each table, so that the positions of the others
/// change.
fn with_more_attributes(text: &str) -> String {
    let mut text = text.to_owned();
    for [table, column, _, tag, _, form] in ATTRIBUTES {
        let first = text.find(&format!("    at({table}, ")).unwrap();
        let third = text[first..].match_indices("\n    at(").nth(1).unwrap().0;
        text.insert_str(first + third, &format!("\n    at({table}, \"{column}\", tags::{tag}, {form}),"));
    }
    text
}
