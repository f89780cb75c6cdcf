//! Internet shortcuts of Windows (`.url`), recognized by content. Archiving systems leave them with
//! the address of an archived item, or with that of a file elsewhere.

use super::{File, Pointer, text};

pub fn recognise(file: &File) -> Option<Pointer> {
    let text = file.text()?;
    let mut entries = text::section(&text, "InternetShortcut")?;
    let url = entries.find(|(key, _)| key.eq_ignore_ascii_case("URL")).map(|(_, url)| unquoted(url));
    Some(Pointer::to("internet shortcut", url.and_then(|url| text::target(url, file.code_page))))
}

/// Removes quotes as Windows does when it reads entries of INI files.
fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}
