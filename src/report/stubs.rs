//! What the summary tells of stubs: how many of each kind, where, and what became of them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::summary::Summary;
use crate::progress::text;

impl Summary<'_> {
    pub(super) fn stubs(&self, out: &mut String) {
        let stubs = self.account.stubs();
        if stubs.is_empty() {
            return;
        }
        let mut line = |text: String| out.write_str(&(text + "\n")).unwrap_or_default();
        line(format!(
            "{:<40} {:<12} {:>12} {:>10}  {}",
            if self.continued { "stubs and links of this run alone" } else { "stubs and links" },
            "locality",
            "files",
            "bytes",
            "outcome"
        ));
        for ((kind, locality, outcome, mount), alike) in stubs {
            let bytes = if alike.bytes > 0 { text::bytes(alike.bytes) } else { "-".into() };
            let (locality, outcome) = (locality.name(), outcome.describe());
            line(format!("  {kind:<38} {locality:<12} {:>12} {bytes:>10}  {outcome}", text::count(alike.files)));
            let target = alike.target.map(|target| format!("to {}", text::path(Path::new(&target))));
            let mount = mount.map(|mount| format!("on {}", text::path(&mount)));
            let why = Some(alike.why).filter(|why| !why.is_empty());
            let told: Vec<String> = [mount, target, why].into_iter().flatten().collect();
            if !told.is_empty() {
                line(format!("    {}{}", if alike.files > 1 { "one of them: " } else { "" }, told.join(": ")));
            }
        }
        let (files, bytes) = &self.account.would_recall;
        if self.dry_run && files.load(Relaxed) > 0 {
            let (files, bytes) = (text::count(files.load(Relaxed)), text::bytes(bytes.load(Relaxed)));
            line(format!("a run with --allow-recall would recall {files} of them, {bytes}"));
        }
        for (mount, files) in self.in_doubt {
            line(format!(
                "none of {} files on {} occupies a block: all are offline, or blocks say nothing there. If they are online: \
                 --online DIR",
                text::count(*files),
                text::path(mount)
            ));
        }
        for mount in self.left_mounts {
            line(format!(
                "reading on {} was given up: files that seemed online answered slowly. If that is its way: --slow-read TIME",
                text::path(mount)
            ));
        }
        line(String::new());
    }
}
