//! Pointer files in formats that only the site knows: `--pointer-rule 'NAME => TARGET'`, two
//! regular expressions. A small file without DICOM whose name matches the first expression is a
//! pointer; the group of the second expression captures its target.

use std::ffi::OsStr;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::stub::{self, Pointer, Target};

#[derive(Clone, Debug)]
pub struct PointerRule {
    name: Regex,
    target: Regex,
}

impl FromStr for PointerRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, target) =
            text.split_once("=>").ok_or(r"write it as NAME => TARGET, for example \.stub$ => ^path=(.+)$")?;
        let compile = |pattern: &str| {
            let built = RegexBuilder::new(pattern.trim()).multi_line(true).crlf(true).build();
            built.map_err(|error| format!("`{}` is not a regular expression: {error}", pattern.trim()))
        };
        let rule = PointerRule { name: compile(name)?, target: compile(target)? };
        match rule.target.captures_len() {
            2.. => Ok(rule),
            _ => Err(format!("`{}` needs a group in parentheses, which finds the target", target.trim())),
        }
    }
}

impl PointerRule {
    pub fn is_about(&self, name: &OsStr) -> bool {
        self.name.is_match(&name.to_string_lossy())
    }

    pub fn recognise(&self, head: &[u8], size: u64, name: &OsStr) -> Option<Pointer> {
        let is_whole = size <= stub::MOST && head.len() as u64 == size;
        if !is_whole || !self.is_about(name) {
            return None;
        }
        let text = stub::decode(head);
        let found = self.target.captures(&text)?.get(1)?;
        Some(Pointer::to("pointer by a rule", Target::path(found.as_str().trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_finds_the_target_in_files_of_that_name() {
        let rule: PointerRule = r"\.stub$ => ^path\s*=\s*(.+)$".parse().unwrap();
        let told = |name: &str, text: &str| rule.recognise(text.as_bytes(), text.len() as u64, name.as_ref());
        let found = told("1.2.stub", "id=7\r\npath = Z:\\ARCHIVE\\1.2\r\n").unwrap();
        assert_eq!(found.targets, [Target::Path("Z:\\ARCHIVE\\1.2".into())]);
        assert_eq!(told("1.2", "path=/x"), None);
        assert_eq!(told("1.2.stub", "nothing"), None);
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_told() {
        for (rule, told) in [("x", "NAME => TARGET"), ("( => (x)", "not a regular expression"), ("x => y", "a group")] {
            assert!(rule.parse::<PointerRule>().unwrap_err().contains(told), "{rule}");
        }
    }
}
