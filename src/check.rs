//! `sluice check`: what this host is like for a broker, what to change, and on request the changes that are safe.
//!
//! Composition only: reading, judging and changing are `sluice-tuning`'s, what a broker needs is the broker's.

use crate::config::{self, Override};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::{Table, print_line};
use clap::Args;
use serde_json::{Value, json};
use sluice_broker::{host_needs, written_folders};
use sluice_tuning::check::{Applied, Finding, Fix, Needs, Severity, apply, judge};
use sluice_tuning::host::{Readings, Root};
use std::path::PathBuf;

/// A governor has a file for each core: people see the first few.
const FIXES_SHOWN: usize = 4;

#[derive(Args)]
#[command(after_help = "Examples:
  sluice check                                   this host, and ./sluice-data
  sluice check --data-dir /var/lib/sluice        and what that folder lies on
  sluice check --config sluice.toml              with the shards, budgets and folders of these settings
  sluice check --json | jq '.findings[] | select(.severity == \"fatal\")'
  sudo sluice check --data-dir /var/lib/sluice --apply

Nothing is changed without --apply; the commands are printed. --apply makes those marked * and no other: it writes values
to /proc/sys and /sys (scheduler, governor, transparent huge pages, sysctls), prints what was there before and how to undo
it, and nothing of it outlives a restart of the host. It needs root, and does not start programs or change files.

Severities: fatal, a broker does not start or is not safe; warn, it costs; unread, it could not be found out; note, worth
knowing. The exit status is 8 when something is fatal, otherwise 0. `sluice serve` runs the checks kernel-version,
io-uring, memlock, nofile, file-system and mount-options itself. Limits (memlock, nofile, control groups) are those of this
very process: run it as the broker's user, in its unit or container.")]
pub(crate) struct CheckArgs {
    /// Folder that a broker is to use; need not exist yet [setting data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Folder of the journals, where it is another one [setting journal_dir]
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<String>,
    /// Number of shards it is to have [setting shards]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// File of settings, as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Every finding as JSON
    #[arg(long)]
    json: bool,
    /// Make the changes that are safe and can be undone while the host runs
    #[arg(long)]
    apply: bool,
}

pub(crate) fn run(args: CheckArgs) -> Result<(), Failure> {
    let overrides = [
        ("data_dir", "--data-dir", &args.data_dir),
        ("journal_dir", "--journal-dir", &args.journal_dir),
        ("shards", "--shards", &args.shards),
    ];
    let given = |(setting, origin, text): (&str, &str, &Option<String>)| {
        text.as_ref().map(|text| Override { setting: setting.to_owned(), origin: origin.to_owned(), text: text.clone() })
    };
    let settings = config::load(args.config.as_deref(), &overrides.into_iter().filter_map(given).collect::<Vec<_>>())?;
    let config = settings.broker_config().map_err(Failure::usage)?;
    config.check().map_err(|error| crate::serve::start_failure(&error))?;
    let host = Host { root: Root::of_this_host(), folders: written_folders(&config), needs: host_needs(&config) };
    let mut findings = host.judge();
    let mut applied = Vec::new();
    if args.apply {
        applied = apply_all(&host.root, &findings)?;
        findings = host.judge();
    }
    if args.json {
        let text = serde_json::to_string_pretty(&to_json(&findings, &applied)).expect("plain values serialise");
        print_line(&text)?;
    } else {
        print_line(to_text(&findings, &applied, args.apply).trim_end())?;
    }
    outcome(&findings, &applied)
}

struct Host {
    root: Root,
    folders: Vec<PathBuf>,
    needs: Needs,
}

impl Host {
    fn judge(&self) -> Vec<Finding> {
        judge(&Readings::read(&self.root, &self.folders), &self.needs)
    }
}

fn apply_all(root: &Root, findings: &[Finding]) -> Result<Vec<Applied>, Failure> {
    let changes: Vec<_> = findings.iter().flat_map(|finding| &finding.fixes).filter_map(|fix| fix.change.as_ref()).collect();
    // The kernel gives this folder to the user that the process runs as; 0 is root.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Err(Failure::new(
            ExitStatus::Failed,
            "--apply writes to /proc/sys and /sys, which only root may; nothing was changed",
        )
        .remedy("sudo sluice check --apply with the same flags, or run without --apply and use the commands it prints"));
    }
    Ok(changes.into_iter().map(|change| apply(root, change)).collect())
}

fn outcome(findings: &[Finding], applied: &[Applied]) -> Result<(), Failure> {
    let fatal: Vec<&str> = findings.iter().filter(|one| one.severity == Severity::Fatal).map(|one| one.id).collect();
    if !fatal.is_empty() {
        let text = format!("a broker cannot run here, or would not be safe: {}", fatal.join(", "));
        return Err(Failure::new(ExitStatus::Unfit, text).remedy("the commands shown for it, then `sluice check` again"));
    }
    let refused = applied.iter().filter(|one| one.problem.is_some()).count();
    if refused > 0 {
        return Err(Failure::new(ExitStatus::Failed, format!("{refused} of {} changes could not be made", applied.len())));
    }
    Ok(())
}

fn to_text(findings: &[Finding], applied: &[Applied], was_asked_to_apply: bool) -> String {
    let mut text = if was_asked_to_apply { applied_text(applied) } else { String::new() };
    text += &format!("{}\n\n", verdict(findings));
    let problems: Vec<&Finding> = findings.iter().filter(|finding| finding.is_problem()).collect();
    if !problems.is_empty() {
        text += &format!("{}\n\n", overview(&problems).to_text());
        // Of those that could not be read the table says all there is.
        let is_known = |one: &&&Finding| one.severity != Severity::Unread;
        text.extend(problems.iter().filter(is_known).map(|problem| details(problem)));
        if problems.iter().any(|one| one.severity == Severity::Unread) {
            text += "What is unread is not called fine: run the check as root or outside of the container, or look yourself.\n\n";
        }
    }
    let of = |severity: Severity| findings.iter().filter(move |one| one.severity == severity);
    let mut absent: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in of(Severity::NotApplicable) {
        match absent.iter_mut().find(|(reason, _)| *reason == one.found) {
            Some((_, ids)) => ids.push(one.id),
            None => absent.push((&one.found, vec![one.id])),
        }
    }
    for (reason, ids) in absent {
        text += &format!("does not apply here: {} ({reason})\n", ids.join(", "));
    }
    // One that also stands above says which of its things is fine.
    let name = |one: &Finding| match &one.subject {
        Some(subject) if problems.iter().any(|problem| problem.id == one.id) => format!("{} of {subject}", one.id),
        _ => one.id.to_owned(),
    };
    let mut fine: Vec<String> = of(Severity::Fine).map(name).collect();
    fine.dedup();
    text += &format!("fine: {}\n", fine.join(", "));
    if problems.iter().flat_map(|problem| &problem.fixes).any(|fix| fix.change.is_some()) {
        text +=
            "\n`sudo sluice check --apply` with the same flags makes the changes marked *; they last until the host restarts.\n";
    }
    text
}

/// The one line to read when there is no time for more.
fn verdict(findings: &[Finding]) -> String {
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let (fatal, unread) = (count(Severity::Fatal), count(Severity::Unread));
    let verdict = match (fatal, unread) {
        (0, 0) => "a broker can run here",
        (0, _) => "nothing keeps a broker from running here, as far as it could be read",
        _ => "a broker cannot run here, or would not be safe",
    };
    let (warnings, notes) = (many(count(Severity::Warn), "warning"), many(count(Severity::Note), "note"));
    format!("{verdict}: {fatal} fatal, {warnings}, {notes}, {unread} unread")
}

fn overview(problems: &[&Finding]) -> Table {
    let mut table = Table::new(&["severity", "check", "about", "found"]);
    for one in problems {
        let subject = one.subject.as_ref().map_or(Value::Null, |subject| subject.as_str().into());
        table.push(vec![one.severity.name().into(), one.id.into(), subject, one.found.as_str().into()]);
    }
    table
}

fn details(finding: &Finding) -> String {
    let subject = finding.subject.as_ref().map(|subject| format!(" of {subject}")).unwrap_or_default();
    let mut text = format!("{}{subject}: {}\n", finding.id, finding.found);
    text += &format!("    wanted: {}\n    why:    {}\n", finding.wanted, finding.why);
    for Fix { command, undo, change } in finding.fixes.iter().take(FIXES_SHOWN) {
        let mark = if change.is_some() { "*" } else { " " };
        text += &format!("  {mark} fix:    {command}\n    undo:   {undo}\n");
    }
    if finding.fixes.len() > FIXES_SHOWN {
        text += &format!("    and {} more like these: --json has them all\n", finding.fixes.len() - FIXES_SHOWN);
    }
    text + "\n"
}

fn applied_text(applied: &[Applied]) -> String {
    if applied.is_empty() {
        return "nothing to change: no finding has a change that is made here\n\n".to_owned();
    }
    let mut text = String::new();
    for Applied { change, after, problem } in applied {
        let before = format!("{} {}", change.undo_path, change.undo_value);
        text += &match (problem, after) {
            (None, Ok(after)) => format!(
                "changed {}\n    before: {before}\n    after:  {} {after}\n    undo:   {}\n",
                change.path,
                change.path,
                change.undo()
            ),
            (problem, _) => {
                format!(
                    "NOT changed as wanted: {}: {}\n",
                    change.path,
                    problem.as_deref().unwrap_or("it could not be read again")
                )
            }
        };
    }
    text + "\n"
}

fn to_json(findings: &[Finding], applied: &[Applied]) -> Value {
    let fix = |fix: &Fix| json!({ "command": fix.command, "undo": fix.undo, "is_applied_by_check": fix.change.is_some() });
    let finding = |one: &Finding| {
        json!({
            "id": one.id,
            "severity": one.severity.name(),
            "subject": one.subject,
            "found": one.found,
            "wanted": one.wanted,
            "why": one.why,
            "fixes": one.fixes.iter().map(fix).collect::<Vec<_>>(),
        })
    };
    let change = |one: &Applied| {
        json!({
            "path": one.change.path,
            "before": one.change.undo_value,
            "after": one.after.as_ref().ok(),
            "undo": one.change.undo(),
            "problem": one.problem,
        })
    };
    json!({
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "changes": applied.iter().map(change).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tuning::check::Change;

    fn finding(id: &'static str, severity: Severity, found: &str) -> Finding {
        let (wanted, why) = ("none".to_owned(), "It costs.".to_owned());
        Finding { id, subject: Some("vda".to_owned()), severity, found: found.to_owned(), wanted, why, fixes: Vec::new() }
    }

    #[test]
    fn problems_come_first_and_the_mark_stands_at_what_is_changed() {
        let change = Change::new("/sys/block/vda/queue/scheduler", "none", "bfq");
        let fix = Fix { command: change.command(), undo: change.undo(), change: Some(change.clone()) };
        let findings = [
            Finding { fixes: vec![fix], ..finding("scheduler", Severity::Warn, "bfq") },
            finding("swap", Severity::Unread, "could not be read: /proc/swaps"),
            finding("rotational", Severity::NotApplicable, "a virtual disk"),
            finding("smt", Severity::Fine, "one thread per core"),
        ];
        let text = to_text(&findings, &[], false);
        let parts = [
            "nothing keeps a broker from running here, as far as it could be read: 0 fatal, 1 warning, 0 notes, 1 unread\n",
            " warn      scheduler  vda    bfq\n",
            "scheduler of vda: bfq\n    wanted: none\n    why:    It costs.\n  * fix:    echo none | sudo tee /sys/block/vda/queue/scheduler\n    \
             undo:   echo bfq | sudo tee /sys/block/vda/queue/scheduler\n",
            "What is unread is not called fine",
            "does not apply here: rotational (a virtual disk)\nfine: smt\n",
            "--apply",
        ];
        let mut rest = text.as_str();
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not where it should be in\n{text}"));
            rest = &rest[at + part.len()..];
        }
        assert_eq!(to_json(&findings, &[])["findings"][0]["fixes"][0]["is_applied_by_check"], true);
        assert!(outcome(&findings, &[]).is_ok());
        let refused = Applied { change, after: Ok("bfq".to_owned()), problem: Some("read-only".to_owned()) };
        assert_eq!(outcome(&findings, &[refused]).expect_err("a failure").status, ExitStatus::Failed);
        assert_eq!(outcome(&[finding("io-uring", Severity::Fatal, "no")], &[]).expect_err("a failure").status, ExitStatus::Unfit);
    }
}
