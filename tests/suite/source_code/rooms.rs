//! Which files of `src` import which: no arrow runs up, and no two files import each other.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::{SourceFile, source_files};

/// The rooms, from the top to the bottom. A room imports rooms below it only.
const FLOORS: [&str; 14] = [
    "command", "settings", "cli", "import", "audit", "pipeline", "merge", "report", "journal", "index", "archive",
    "dicom", "disk", "progress",
];

/// Files that still import each other. This list may only become shorter.
const CIRCLES: [&[&str]; 8] = [
    &["archive::breaker", "archive::mount"],
    &["archive::skipped_directories", "archive::system_directories"],
    &["command::consent", "command::stored_paths"],
    &["command::repair::insert", "command::repair::undo"],
    &["dicom::data_end", "dicom::header", "dicom::instance", "dicom::packed_form", "dicom::scan"],
    &["index::column", "index::columns", "index::companions"],
    &["index::init", "index::sqlite"],
    &["index::location", "index::mysql_url", "index::server"],
];

/// The modules that each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn module_of(path: &str) -> String {
    let name = path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
    name.trim_end_matches("::mod").to_owned()
}

/// Returns the paths in a tree of imports, e.g. `a::b` and `a::c` for `a::{b, c}`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return paths.push(format!("{prefix}{}", path.trim()));
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&format!("{prefix}{head}"), &inner[start..at], paths);
                }
                start = (at + 1).min(inner.len());
            }
            _ => {}
        }
    }
}

/// Returns the paths that begin in the crate or in a parent module.
fn imported_paths(code: &str) -> Vec<String> {
    let code = Regex::new("//.*").unwrap().replace_all(code, "").replace('\n', " ");
    let mut paths = Vec::new();
    for found in Regex::new(r"\buse ((?:crate|super|self)[^;]*);").unwrap().captures_iter(&code) {
        expand("", &found[1], &mut paths);
    }
    let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
    paths.extend(inline.find_iter(&code).map(|path| path.as_str().to_owned()));
    paths
}

/// Returns the path of an import from the top of the crate.
fn resolve(module: &str, path: &str) -> String {
    let mut place: Vec<&str> = module.split("::").collect();
    let mut parts = path.split("::").map(str::trim).peekable();
    while let Some(part) = parts.peek() {
        match *part {
            "crate" => place.clear(),
            "super" => drop(place.pop()),
            "self" => {}
            _ => break,
        }
        parts.next();
    }
    place.into_iter().chain(parts).collect::<Vec<_>>().join("::")
}

fn imports(files: &[SourceFile]) -> Imports {
    let modules: BTreeSet<String> = files.iter().map(|file| module_of(&file.path)).collect();
    let module_with = |path: &str| {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        let prefixes: Vec<&str> = ends.map(|end| &path[..end]).collect();
        prefixes.into_iter().rev().find(|prefix| modules.contains(*prefix)).map(str::to_owned)
    };
    let imports_of = |file: &SourceFile| {
        let module = module_of(&file.path);
        let paths = imported_paths(file.code()).into_iter();
        let imported: BTreeSet<String> = paths.filter_map(|path| module_with(&resolve(&module, &path))).collect();
        (module.clone(), imported.into_iter().filter(|other| *other != module).collect())
    };
    files.iter().map(imports_of).collect()
}

/// Returns the modules that a module reaches through imports.
fn reachable<'i>(imports: &'i Imports, from: &str) -> BTreeSet<&'i str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = imports[from].iter().map(String::as_str).collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(imports[module].iter().map(String::as_str));
        }
    }
    reached
}

#[test]
fn no_room_imports_a_room_above_it() {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let floor = |module: &str| FLOORS.iter().position(|name| *name == room(module));
    let mut upwards = Vec::new();
    for (module, imported) in imports(&source_files(&["src"])) {
        upwards.extend(
            imported
                .iter()
                .filter(|other| floor(other) < floor(&module) && floor(other).is_some())
                .map(|other| format!("{module} imports {other}")),
        );
    }
    assert_eq!(upwards, [""; 0]);
}

#[test]
fn no_new_files_import_each_other() {
    let imports = imports(&source_files(&["src"]));
    assert!(imports.len() > 100, "{} modules", imports.len());
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|module| (module.as_str(), reachable(&imports, module))).collect();
    let circle_of = |module: &&str| -> Vec<&str> {
        let others = reached[*module].iter().filter(|other| reached[**other].contains(*module));
        others.copied().collect()
    };
    let circles: BTreeSet<Vec<&str>> = reached.keys().map(circle_of).filter(|circle| circle.len() > 1).collect();
    let known: BTreeSet<Vec<&str>> = CIRCLES.iter().map(|circle| circle.to_vec()).collect();
    assert_eq!(circles, known, "files that import each other; a circle that is gone leaves the list");
}

#[test]
fn paths_of_imports_are_understood() {
    let code = "use super::{a::{self, B}, c as d};\nuse crate::e;\nfn f() { super::super::g::h() }";
    let paths: Vec<String> = imported_paths(code).iter().map(|path| resolve("x::y", path)).collect();
    assert_eq!(paths[..4], ["x::a::self", "x::a::B", "x::c", "e"]);
    assert!(paths.contains(&"g::h".to_owned()), "{paths:?}");
}
