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
