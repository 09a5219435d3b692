//! `sluice cluster dev|status|health`.

mod dev;
mod health;
mod status;

use crate::exit_status::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum ClusterCommand {
    /// Run a cluster of several brokers on this machine, to try it out
    #[command(after_help = dev::HELP)]
    Dev(dev::DevArgs),
    /// Show the brokers, the controller and the partitions that are not as they should be
    #[command(after_help = "Examples:
  sluice cluster status
  sluice cluster status --json | jq '.brokers[] | select(.state != \"active\")'

What is shown is what the broker knows that answers. `heard` says how long ago the controller confirmed its lease: a broker
that is cut off from the others answers as well.")]
    Status(status::StatusArgs),
    /// Say whether every partition is led and fully in sync; exit status 9 when not, with the reasons
    #[command(after_help = "Examples:
  sluice cluster health && echo all is well
  sluice cluster health --wait 2min            before the next broker is restarted

The exit status is 0 only when the controller is known, the broker that answers is in touch with it, every voter is
active, and every partition has a leader and all its replicas in sync; otherwise it is 9. Partitions that another broker
leads than the preferred one are fine: `sluice topic elect` changes that.")]
    Health(health::HealthArgs),
}

pub(crate) fn run(command: ClusterCommand) -> Result<(), Failure> {
    let runtime = crate::connect::runtime()?;
    runtime.block_on(async {
        match command {
            ClusterCommand::Dev(args) => dev::run(args).await,
            ClusterCommand::Status(args) => status::run(args).await,
            ClusterCommand::Health(args) => health::run(args).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn the_page_for_three_machines_has_settings_that_are_read() {
        let page = include_str!("../tuning/cluster.md");
        let (_, behind) = page.split_once("```toml\n").expect("the page has settings");
        let (text, _) = behind.split_once("```").expect("they end");
        let settings = config::merge(Some((text, "tuning/cluster.md")), &[]).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(settings.broker_id, Some(1));
        assert_eq!(settings.cluster_voters.map(|voters| voters.split(',').count()), Some(3));
    }

    #[test]
    fn the_page_names_only_flags_that_there_are() {
        use clap::CommandFactory;
        let page = include_str!("../tuning/cluster.md");
        let mut program = crate::Cli::command();
        program.build();
        let mut flags = Vec::new();
        all_flags(&program, &mut flags);
        let lines = page.lines().filter(|line| line.starts_with("sluice ") || line.starts_with("ExecStart=/"));
        let mut named = 0;
        for word in lines.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("--")) {
            named += 1;
            assert!(flags.iter().any(|flag| flag == word), "there is no --{word}");
        }
        assert!(named > 10, "only {named} flags were found: the search for them is broken");
    }

    fn all_flags(command: &clap::Command, flags: &mut Vec<String>) {
        flags.extend(command.get_arguments().filter_map(|flag| flag.get_long()).map(ToOwned::to_owned));
        command.get_subcommands().for_each(|command| all_flags(command, flags));
    }
}
