//! Comments and texts are plain English: the words of this list are those of a private language, or of a riddle.

use regex::Regex;

use super::source_files;

/// What a comment must not contain, and the better way.
const COMMENT_WORDS: [(&str, &str); 9] = [
    (r"(?i)\b(tell|tells|told|telling)\b", "report, print, detect or record"),
    (r"(?i)\b(whoever|somebody|nobody|anybody)\b", "name the subject: the caller, another program"),
    (r"(?i)\b(stands?|stood|lies?) (in|at|for|there|on|behind|below|beside|where|as|elsewhere)\b", "is, contains"),
    (r"(?i)\b(puts? by|put aside|takes? up|taken up|took up|put off)\b", "buffer, defer, resume"),
    (r"(?i)\b(led|leads?) to\b", "points to"),
    (r"(?i)\bas (it|they) (was|were)\b", "unchanged"),
    (r"(?i)\b(is|are) none\b", "not, None"),
    (r"(?i)\b(but for|all the same|for want of|by now|meanwhile)\b", "except, nevertheless, since then"),
    (r"^(Of|Those|One that|What|So many) ", "begin with a noun or a third-person verb"),
];

/// The rooms whose comments keep to the list. The others follow: `index`, `settings`, `command`, the
/// tests and the benchmarks.
const ROOMS: [&str; 11] = [
    "src/archive",
    "src/audit",
    "src/cli",
    "src/dicom",
    "src/disk",
    "src/import",
    "src/journal",
    "src/merge",
    "src/pipeline",
    "src/progress",
    "src/report",
];

/// Returns the text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim_start())
}

#[test]
fn comments_are_plain_english() {
    let words = COMMENT_WORDS.map(|(pattern, better)| (Regex::new(pattern).unwrap(), better));
    let mut hits = Vec::new();
    let mut comments = 0;
    for file in source_files(&ROOMS) {
        for (n, line) in file.text.lines().enumerate() {
            let Some(text) = comment(line) else { continue };
            comments += 1;
            for (pattern, better) in &words {
                if let Some(found) = pattern.find(text) {
                    hits.push(format!("{}:{}: \"{}\": {better}", file.path, n + 1, found.as_str()));
                }
            }
        }
    }
    assert!(comments > 1000, "{comments} comments");
    assert!(hits.is_empty(), "{} comments:\n{}", hits.len(), hits.join("\n"));
}
