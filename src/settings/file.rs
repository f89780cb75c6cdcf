//! `--config FILE`: settings in TOML, named like the long options of the command, and `roots`.
//!
//! The settings become further arguments, which are parsed like those on the command line. Every
//! option of a command that has `--config` is therefore a key, with the same checks and the same
//! meaning, and no separate list of keys is needed.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};
use toml::{Table, Value};

use crate::cli::{Cli, Recall};
use crate::error::{Error, Result};
use crate::index::tls::SslMode;

/// Keys that `repair` ignores. Only the user confirms a repair, and `plan` and `undo` have other
/// meanings for `audit` and `reindex`, which may share the file.
const NOT_FOR_REPAIR: [&str; 4] = ["yes", "allow_unmapped_paths", "plan", "undo"];

/// Arguments that cannot be set in a settings file.
const NOT_IN_A_FILE: [&str; 6] = ["config", "help", "version", "allow_recall", "shard", "merge_shards"];

/// Returns the arguments, with the settings of the file that `--config` names. A setting is left
/// out if an argument on the command line overrides or excludes it.
pub fn complete(typed: Vec<OsString>) -> Result<Vec<OsString>> {
    // Errors in the arguments are reported once the arguments are complete, because the file may
    // contain a missing one.
    let mut program = Cli::command().ignore_errors(true);
    program.build();
    let Ok(matches) = program.clone().try_get_matches_from(&typed) else { return Ok(typed) };
    let Some((name, matches)) = matches.subcommand() else { return Ok(typed) };
    only_in_a_file(matches)?;
    let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") else { return Ok(typed) };
    let Some(command) = program.find_subcommand(name) else { return Ok(typed) };
    let settings = Settings::read(path, command)?;
    settings.check(&typed, name)?;
    Ok(settings.added_to(typed, name, |argument, texts| {
        is_settled(command, matches, argument) || is_less_than_typed(matches, argument, texts)
    }))
}

/// Refuses `--recall allow` on the command line. Only the settings file of a site may allow
/// recalls, so that a typing mistake cannot.
fn only_in_a_file(matches: &ArgMatches) -> Result<()> {
    match matches.try_get_one::<Recall>("recall") {
        Ok(Some(Recall::Allow)) => Err(Error::usage(
            "--recall allow is accepted in a settings file only",
            "Write there: recall = \"allow\". Then name it with --config, and type --allow-recall.",
        )),
        _ => Ok(()),
    }
}

/// The settings of a file, each with the equivalent arguments.
struct Settings<'a> {
    file: &'a Path,
    text: String,
    all: Vec<(&'a Arg, Vec<String>)>,
}

impl<'a> Settings<'a> {
    fn read(file: &'a Path, command: &'a Command) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::usage(format!("--config {}: {error}", file.display()), "Name a TOML file that you may read.")
        })?;
        let table: Table = text.parse().map_err(|error| no_toml(file, &text, &error))?;
        let is_read = |(key, _): &(&String, &Value)| find(command, key).is_some() || !is_ignored(key);
        let all = table.iter().filter(is_read).map(|(key, value)| {
            let place = place(file, &text, key);
            let argument = find(command, key).ok_or_else(|| unknown(&place, key, command))?;
            let typed = as_typed(argument, value).map_err(|wanted| wrong_value(&place, key, wanted))?;
            Ok((argument, typed))
        });
        let all = all.collect::<Result<_>>()?;
        Ok(Settings { file, text, all })
    }

    /// Checks the file without the arguments of the user, so that an error in the file is reported
    /// as one of the file.
    fn check(&self, typed: &[OsString], command: &str) -> Result<()> {
        let alone =
            self.added_to(typed.iter().take(1).cloned().chain([command.into()]).collect(), command, |_, _| false);
        match Cli::command().try_get_matches_from(alone) {
            Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(self.unusable(&error)),
            _ => Ok(()),
        }
    }

    /// Converts an error of the command line parser to an error about the settings of the file.
    fn unusable(&self, error: &clap::Error) -> Error {
        let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let keys = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| {
            let option = context(kind);
            option.split([' ', '=']).next().unwrap_or_default().trim_start_matches("--").to_owned()
        });
        let [key, other] = &keys;
        let value = context(ContextKind::InvalidValue);
        let place = place(self.file, &self.text, key);
        let what = match error.kind() {
            ErrorKind::InvalidValue => {
                format!("`{key}` cannot be `{value}`; possible values: {}", context(ContextKind::ValidValue))
            }
            ErrorKind::ValueValidation => {
                let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                format!("`{key}` cannot be `{value}`: {why}")
            }
            ErrorKind::ArgumentConflict => format!("`{key}` cannot be used with `{other}`"),
            _ => format!("`{key}` cannot be used"),
        };
        Error::usage(format!("{place}: {what}"), "Correct the file.")
    }

    fn added_to(
        &self,
        mut typed: Vec<OsString>,
        command: &str,
        is_settled: impl Fn(&Arg, &[String]) -> bool,
    ) -> Vec<OsString> {
        let (mut options, mut positional) = (Vec::<OsString>::new(), Vec::new());
        for (argument, texts) in self.all.iter().filter(|(argument, texts)| !is_settled(argument, texts)) {
            let added = if argument.is_positional() { &mut positional } else { &mut options };
            added.extend(texts.iter().map(OsString::from));
        }
        let name = typed.iter().skip(1).position(|argument| argument == command);
        let after_name = name.map_or(typed.len(), |skipped| skipped + 2);
        typed.splice(after_name..after_name, options);
        // A directory may have the name of an option.
        if !positional.is_empty() && !typed.iter().any(|argument| argument == "--") {
            typed.push("--".into());
        }
        typed.extend(positional);
        typed
    }
}

fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let ignored: &[&str] = if command.get_name() == "repair" { &NOT_FOR_REPAIR } else { &[] };
    command.get_arguments().filter(|argument| {
        let id = argument.get_id().as_str();
        !NOT_IN_A_FILE.contains(&id) && !ignored.contains(&id)
    })
}

/// Returns the argument of a command that a key of the file sets, by its name or an alias.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let has_alias = |argument: &Arg| argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&key));
    arguments(command).find(|argument| key_of(argument) == key || has_alias(argument))
}

/// Whether a key is a setting of another command, which may share the file.
fn is_ignored(key: &str) -> bool {
    let program = Cli::command();
    let has_file = |other: &&Command| other.get_arguments().any(|argument| argument.get_id() == "config");
    program.get_subcommands().filter(has_file).any(|other| find(other, key).is_some())
}

fn wrong_value(place: &str, key: &str, wanted: &str) -> Error {
    Error::usage(format!("{place}: the value of `{key}` must be {wanted}"), "Correct the file.")
}

fn key_of(argument: &Arg) -> String {
    argument.get_long().map_or_else(|| argument.get_id().as_str().replace('_', "-"), str::to_owned)
}

/// Whether a TLS mode in the file is less strict than the mode that `--ssl-ca` on the command line
/// implies. Such a mode is ignored, so that the certificate is verified against the authority.
fn is_less_than_typed(matches: &ArgMatches, argument: &Arg, texts: &[String]) -> bool {
    let is_typed = |id: &str| {
        matches.try_contains_id(id).unwrap_or(false) && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mode = || SslMode::parse(texts.first()?.split_once('=')?.1);
    argument.get_id() == "ssl_mode" && is_typed("ssl_ca") && mode().is_some_and(|mode| mode < SslMode::VerifyCa)
}

/// Whether the argument, or one that excludes it, was given on the command line.
fn is_settled(command: &Command, matches: &ArgMatches, argument: &Arg) -> bool {
    let is_typed = |a: &Arg| matches.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine);
    let excludes = |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id());
    is_typed(argument)
        || command.get_arguments().any(|a| is_typed(a) && (excludes(a, argument) || excludes(argument, a)))
}

/// Converts a setting to arguments. The error describes the expected value.
fn as_typed(argument: &Arg, value: &Value) -> Result<Vec<String>, &'static str> {
    let typed = |text: String| argument.get_long().map_or(text.clone(), |long| format!("--{long}={text}"));
    match (argument.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(false)) => Ok(vec![]),
        (ArgAction::SetTrue, Value::Boolean(true)) => Ok(vec![format!("--{}", key_of(argument))]),
        (ArgAction::SetTrue, _) => Err("true or false"),
        (ArgAction::Append, Value::Array(values)) => {
            let texts = values.iter().map(|value| scalar(argument, value).map(typed));
            texts.collect::<Result<_, _>>().map_err(|_| "a list of texts in quotes")
        }
        (ArgAction::Append, _) => Err("a list, like [\"...\"]"),
        (_, value) => Ok(vec![typed(scalar(argument, value)?)]),
    }
}

/// Converts a single value to text. Texts and numbers are distinguished if the type of the option
/// determines which is right; other values are checked by the parser of the option.
fn scalar(argument: &Arg, value: &Value) -> Result<String, &'static str> {
    let kind = argument.get_value_parser().type_id();
    let is_one_of = |kinds: &[TypeId]| kinds.iter().any(|other| kind == *other);
    let is_text = is_one_of(&[TypeId::of::<String>(), TypeId::of::<PathBuf>()]);
    let is_number = is_one_of(&[TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()]);
    match value {
        Value::Integer(number) if !is_text => Ok(number.to_string()),
        Value::String(text) if !is_number => Ok(text.clone()),
        _ => Err(if is_number { "a whole number" } else { "a text in quotes" }),
    }
}

/// Returns the file and the line of a setting, or the file alone.
fn place(file: &Path, text: &str, key: &str) -> String {
    let is_key = |line: &str| key_in(line) == Some(key) || line.trim().trim_matches(['[', ']']) == key;
    match text.lines().position(|line| !key.is_empty() && is_key(line)) {
        Some(n) => format!("{}, line {}", file.display(), n + 1),
        None => file.display().to_string(),
    }
}

/// Returns the key that a line begins with.
fn key_in(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim().trim_matches(['"', '\'']);
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    is_key.then_some(key)
}

fn unknown(place: &str, key: &str, command: &Command) -> Error {
    if key == "password" {
        return Error::usage(
            format!("{place}: `password` is not a setting: passwords do not belong in settings files"),
            "It comes from the environment variable PACS_INDEX_PASSWORD, a password-file or a defaults-file.",
        );
    }
    let name = command.get_name();
    let distance = |known: &String| strsim::damerau_levenshtein(known, key);
    let nearest = arguments(command).map(key_of).min_by_key(distance);
    let hint = match nearest.filter(|nearest| distance(nearest) <= MISTYPED.min(key.chars().count() / 2)) {
        Some(nearest) => format!("Did you mean `{nearest}`? "),
        None => String::new(),
    };
    Error::usage(
        format!("{place}: `{key}` is not a setting of {name}"),
        format!("{hint}Settings are called like the options of {name}; see pacs-index {name} --help."),
    )
}

/// The maximum edit distance between an unknown key and the setting that is suggested for it.
const MISTYPED: usize = 3;

/// Returns an error with the line and its key. The value, and the message of the parser about it,
/// may contain a secret.
fn no_toml(file: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    let key = text.lines().nth(number).and_then(key_in).map_or(String::new(), |key| format!(" `{key}`"));
    let (what, advice) = match error.message().contains("duplicate key") {
        true => ("is set before", "Remove one of the two lines."),
        false => ("is not written as TOML", "Write a setting a line, for example: index = \"sqlite:index.db\""),
    };
    Error::usage(format!("{}, line {}: the setting{key} {what}", file.display(), number + 1), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use clap::Parser;

    fn told(file: &str, typed: &[&str]) -> Result<cli::Reindex> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("site.toml");
        std::fs::write(&path, file).unwrap();
        let typed =
            ["pacs-index", "reindex", "--config"].into_iter().chain([path.to_str().unwrap()]).chain(typed.to_vec());
        match Cli::parse_from(complete(typed.map(OsString::from).collect())?).command {
            cli::Command::Reindex(typed) => Ok(*typed),
            _ => unreachable!(),
        }
    }

    #[test]
    fn each_kind_of_setting_is_read() {
        let file = "roots = ['a', '-b']\nindex = 'sqlite:x'\nio-threads = 7\npath-map = ['/a=/b', '/c=/d']\n\
                    quiet = true\ndry-run = false\nprogress = 'json'\nrejected = 'list'\n\
                    defaults-file = 'my.cnf'\ndefaults-section = 'pacs'";
        let found = told(file, &[]).unwrap();
        assert_eq!(found.roots, [PathBuf::from("a"), "-b".into()]);
        assert_eq!((found.writing.index.url.as_str(), found.writing.io_threads), ("sqlite:x", Some(7)));
        assert_eq!(found.writing.path_map, ["/a=/b", "/c=/d"]);
        assert!(found.writing.quiet && !found.dry_run && matches!(found.writing.progress, cli::Progress::Json));
        assert_eq!(found.writing.index.defaults_section, "pacs");
    }

    #[test]
    fn what_is_typed_wins_and_replaces_lists() {
        let file = "roots = ['a']\nindex = 'sqlite:x'\npath-map = ['/a=/b']\nio-threads = 7\ndefaults-file = 'my.cnf'";
        let typed = ["--path-map", "/c=/d", "c", "--index=sqlite:y", "--io-threads", "8", "--defaults-section", "pacs"];
        let found = told(file, &typed).unwrap();
        assert_eq!((found.roots, found.writing.path_map), (vec!["c".into()], vec!["/c=/d".to_owned()]));
        assert_eq!((found.writing.index.url.as_str(), found.writing.io_threads), ("sqlite:y", Some(8)));
        assert_eq!(found.writing.index.defaults_section, "pacs");
    }

    #[test]
    fn what_is_typed_leaves_out_what_it_excludes() {
        let file = "roots-from-index = true\npacsone-ini = 'pacs.ini'";
        let found = told(file, &["a", "--index", "sqlite:y"]).unwrap();
        assert!(!found.roots_from_index && found.writing.index.pacsone_ini.is_none());
        let found = told("roots = ['a']\nindex = 'sqlite:x'", &["--roots-from-index", "--pacsone-ini", "x"]).unwrap();
        assert!(found.roots.is_empty() && found.writing.index.pacsone_ini.is_some());
    }

    #[test]
    fn settings_about_the_index_are_left_out_for_a_shard() {
        let file = "roots = ['a']\nindex = 'sqlite:x'\nduplicates = 'oldest'\npath-map = ['/a=/b']\nio-threads = 7";
        let found = told(file, &["--shard", "1/2"]).unwrap();
        assert!(found.shard.is_some() && found.writing.path_map.is_empty());
        assert_eq!((found.roots, found.writing.io_threads), (vec!["a".into()], Some(7)));
        assert!(told("shard = '1/2'", &["a"]).is_err());
    }

    #[test]
    fn a_mistake_is_told_with_the_file_and_the_key() {
        let cases = [
            ("io_threads = 7", "`io_threads`", "`io-threads`"),
            ("config = 'other'", "`config`", "not a setting"),
            ("password = 'secret'", "`password`", "PACS_INDEX_PASSWORD"),
            ("roots = 'a'", "`roots`", "a list"),
            ("roots = [1]", "`roots`", "a list of texts"),
            ("quiet = 'yes'", "`quiet`", "true or false"),
            ("io-threads = 'many'", "`io-threads`", "a whole number"),
            ("index = 3", "`index`", "a text"),
            ("[index]\nurl = 'x'", "`index`", "a text"),
            ("io-threads = 5000", "io-threads", "5000 is not in"),
            ("progress = 'loud'", "progress", "possible values: auto"),
            ("index = 'sqlite:x'\npacsone-ini = 'x'", "index", "cannot be used with"),
            ("quiet = true\npassword = 'secret", "site.toml", "line 2"),
        ];
        for (file, key, message) in cases {
            let error = told(file, &["a"]).unwrap_err().to_string();
            let all = error.contains("site.toml") && error.contains(key) && error.contains(message);
            assert!(all && !error.contains("secret"), "{file}: {error}");
        }
    }
}
