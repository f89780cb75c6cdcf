//! Links of Linux desktops (Desktop Entry Specification, `Type=Link`), recognized by content.
//! Entries that start programs are not pointers.

use super::{File, Pointer, text};

pub fn recognise(file: &File) -> Option<Pointer> {
    let text = file.text()?;
    let entries = text::section(&text, "Desktop Entry")?;
    let value = |key: &str| entries.clone().find(|(name, _)| *name == key).map(|(_, value)| value);
    value("Type").filter(|kind| *kind == "Link")?;
    // One desktop expands variables in values marked with `$e`. The variables are those of a user,
    // and unknown here.
    let url = value("URL").or_else(|| value("URL[$e]").filter(|url| !url.contains('$')));
    let url = url.filter(|url| url.len() <= 2 * text::LONGEST).map(unescaped);
    let target = url.and_then(|url| text::target(&url, file.code_page));
    Some(Pointer::to("desktop link", target))
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        match escaped {
            None => text.push(character),
            Some('s') => text.push(' '),
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('\\') => text.push('\\'),
            // This is not an escape sequence, so it is kept unchanged.
            Some(other) => text.extend(['\\', other]),
        }
    }
    text
}
