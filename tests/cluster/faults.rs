//! What happens to a cluster in one round, drawn by chance, and how it ends.

use crate::brokers::{BROKERS, Brokers};
use crate::random::Random;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of the broker that leads a partition, which comes back a while later.
    KillLeader,
    /// The same of two brokers: nobody is a majority until one is back.
    KillTwo,
    /// kill -9 of all, as when the power fails.
    KillAll,
    /// SIGSTOP of a leader for ten seconds, and it goes on as if nothing had been.
    Freeze,
    /// A clean stop of a leader, and a start.
    Restart,
    /// A leader and the others do not reach each other; clients reach all.
    CutBoth,
    /// What a leader sends to the others does not arrive.
    CutOutgoing,
    /// What the others send to a leader does not arrive.
    CutIncoming,
}

impl Fault {
    pub(crate) const ON_PROCESSES: &[Self] = &[Self::KillLeader, Self::KillTwo, Self::KillAll, Self::Freeze, Self::Restart];
    pub(crate) const ON_THE_NETWORK: &[Self] = &[Self::CutBoth, Self::CutOutgoing, Self::CutIncoming];

    pub(crate) fn happen(self, brokers: &mut Brokers, topic: &str, random: &mut Random) {
        let victim = brokers.leader_of(topic, random.below(2) as usize).unwrap_or(1 + random.below(BROKERS.into()) as u32);
        let others: Vec<u32> = (1..=BROKERS).filter(|&broker| broker != victim).collect();
        match self {
            Self::KillLeader => {
                brokers.kill(victim);
                pause(random, 3_000);
                brokers.revive(victim);
            }
            Self::KillTwo => {
                let other = others[random.below(2) as usize];
                brokers.kill(victim);
                pause(random, 500);
                brokers.kill(other);
                pause(random, 1_000);
                brokers.revive(other);
                pause(random, 500);
                brokers.revive(victim);
            }
            Self::KillAll => {
                (1..=BROKERS).for_each(|broker| brokers.kill(broker));
                (1..=BROKERS).for_each(|broker| brokers.revive(broker));
            }
            Self::Freeze => {
                brokers.signal(victim, "-STOP");
                std::thread::sleep(Duration::from_secs(10));
                brokers.signal(victim, "-CONT");
            }
            Self::Restart => {
                brokers.stop(victim);
                pause(random, 1_000);
                brokers.revive(victim);
            }
            Self::CutBoth | Self::CutOutgoing | Self::CutIncoming => {
                let network = brokers.network.as_ref().expect("a network that can be cut");
                let outgoing = others.iter().map(|&other| (victim, other)).filter(|_| self != Self::CutIncoming);
                let incoming = others.iter().map(|&other| (other, victim)).filter(|_| self != Self::CutOutgoing);
                let cuts: Vec<_> = outgoing.chain(incoming).collect();
                cuts.iter().for_each(|&(from, to)| network.cut(from, to));
                std::thread::sleep(Duration::from_millis(2_500 + random.below(3_000)));
                cuts.iter().for_each(|&(from, to)| network.heal(from, to));
            }
        }
    }
}

fn pause(random: &mut Random, ms_max: u64) {
    std::thread::sleep(Duration::from_millis(random.below(ms_max)));
}
