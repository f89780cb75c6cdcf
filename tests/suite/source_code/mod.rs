//! Rules of the source code, for developers: which words comments and texts avoid, and which rooms use which.

use std::fs;
use std::path::{Path, PathBuf};

mod rooms;
mod words;

/// A source file: its path below the top level, and its text.
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// Returns the text in front of the unit tests.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
    }
}

/// Reads all Rust files below directories of the top level, in the order of their paths.
fn source_files(directories: &[&str]) -> Vec<SourceFile> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = directories.iter().flat_map(|directory| rust_files(&top.join(directory))).collect();
    paths.sort();
    let read = |path: PathBuf| SourceFile {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(top).unwrap().to_str().unwrap().replace('\\', "/"),
    };
    paths.into_iter().map(read).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
