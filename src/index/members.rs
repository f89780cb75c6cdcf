//! Members of an ENUM or SET column. A strict server rejects a row with any other value, and
//! interprets a number as the position of a member.

use std::borrow::Cow;

/// The members of an ENUM or SET column, in the order of the declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumMembers {
    names: Vec<String>,
    is_set: bool,
    is_case_sensitive: bool,
}

impl EnumMembers {
    /// Parses the members from a declaration such as `enum('a','it''s')`. Returns `None` if the
    /// column has another type.
    pub fn of(declaration: &str, collation: &str) -> Option<Self> {
        let (name, list) = declaration.split_once('(')?;
        let is_set = name.eq_ignore_ascii_case("set");
        if !is_set && !name.eq_ignore_ascii_case("enum") {
            return None;
        }
        let is_case_sensitive = collation.ends_with("_bin") || collation.ends_with("_cs") || collation == "binary";
        Some(EnumMembers { names: names(list), is_set, is_case_sensitive })
    }

    /// Returns the value as the column stores it, or `None` if the column cannot store it.
    pub fn fit<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        if !self.is_set {
            return self.find(text).map(|name| same_or(text, name));
        }
        // The server stores the members of a set in the order of the declaration, each once.
        let mut chosen = vec![false; self.names.len()];
        for part in text.split(',').filter(|_| !text.is_empty()) {
            chosen[self.position(part)?] = true;
        }
        let names = self.names.iter().zip(chosen).filter(|(_, is_chosen)| *is_chosen).map(|(name, _)| name.as_str());
        Some(same_or(text, &names.collect::<Vec<_>>().join(",")))
    }

    /// Returns the member at a 1-based position.
    pub fn at(&self, number: i64) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.names.get(index).map(String::as_str)
    }

    fn find(&self, text: &str) -> Option<&str> {
        self.position(text).map(|n| self.names[n].as_str())
    }

    /// Returns the index of a member. Trailing spaces are ignored, as in the server's comparisons.
    fn position(&self, text: &str) -> Option<usize> {
        let text = text.trim_end_matches(' ');
        let is_same =
            |name: &String| name == text || (!self.is_case_sensitive && name.to_lowercase() == text.to_lowercase());
        self.names.iter().position(|name| name == text).or_else(|| self.names.iter().position(is_same))
    }
}

fn same_or<'t>(text: &'t str, stored: &str) -> Cow<'t, str> {
    if text == stored { Cow::Borrowed(text) } else { Cow::Owned(stored.to_owned()) }
}

/// Parses a list of quoted strings, in which a quote is escaped by doubling it.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some(begin) = rest.find('\'') {
        let mut name = String::new();
        rest = &rest[begin + 1..];
        while let Some(end) = rest.find('\'') {
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(more) => {
                    name.push('\'');
                    rest = more;
                }
                None => break,
            }
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_the_declaration_of_a_column() {
        let members = EnumMembers::of("enum('M','it''s, (one)','','ü')", "latin1_swedish_ci").unwrap();
        assert_eq!(members.names, ["M", "it's, (one)", "", "ü"]);
        assert_eq!(EnumMembers::of("varchar(5)", "utf8mb4_general_ci"), None);
        assert_eq!(EnumMembers::of("int", ""), None);
    }

    #[test]
    fn a_value_is_a_member_by_the_collation_of_the_column_and_stored_as_the_member_is_spelled() {
        let members = EnumMembers::of("enum('M','F','0','1')", "utf8mb4_general_ci").unwrap();
        assert_eq!(
            ["m", "M ", "1", "X", ""].map(|text| members.fit(text).map(Cow::into_owned)),
            [Some("M".into()), Some("M".into()), Some("1".into()), None, None]
        );
        let exact = EnumMembers::of("enum('M','m')", "utf8mb4_bin").unwrap();
        assert_eq!([0, 1, 2, 3].map(|number| exact.at(number)), [None, Some("M"), Some("m"), None]);
        assert_eq!(exact.fit("m").as_deref(), Some("m"));
        assert_eq!(EnumMembers::of("ENUM('M')", "latin1_bin").unwrap().fit("m"), None);
    }

    #[test]
    fn a_set_stores_its_members_in_their_order() {
        let members = EnumMembers::of("set('HEAD','NECK')", "utf8mb4_general_ci").unwrap();
        assert_eq!(members.fit("neck,Head").as_deref(), Some("HEAD,NECK"));
        assert_eq!(members.fit("").as_deref(), Some(""));
        assert_eq!(members.fit("HEAD,KNEE"), None);
    }
}
