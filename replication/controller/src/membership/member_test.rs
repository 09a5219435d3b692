use super::on_renewed::Renewal;
use super::*;
use crate::command_error::CommandError;
use sluice_metadata::{
    Address, Batch, ClusterId, CreateTopic, FolderId, HeldPartitions, Image, Refusal, RegisterBroker, ReplicaEnd, Start,
};
use sluice_model::{PartitionIndex, TopicId};

const BROKER: BrokerId = BrokerId(2);
const OWN: Incarnation = Incarnation { number: 5, random: 77 };
const LEASE: Duration = Duration::from_millis(1000);

/// The member, the metadata as the controller has it, and a clock.
struct Bench {
    member: Member,
    image: Image,
    index: u64,
    now: Duration,
}

impl Bench {
    /// Registered, as one of two, next to broker 1 that is active.
    fn new() -> Self {
        let image = Image::new(ClusterId([1; 16]));
        let mut bench = Self { member: Member::new(BROKER, OWN), image, index: 0, now: Duration::ZERO };
        bench.register(BrokerId(1), OWN);
        bench.decide(Command::ReportRecovery(report(BrokerId(1), true)));
        bench.decide(unfence(BrokerId(1)));
        bench.register(BROKER, OWN);
        bench
    }

    fn decide(&mut self, command: Command) {
        let records = command.decide(&self.image).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}")).records;
        self.image.apply_batch(&Batch { records }).unwrap();
        self.index += 1;
    }

    fn register(&mut self, broker: BrokerId, incarnation: Incarnation) {
        self.decide(Command::RegisterBroker(RegisterBroker {
            broker,
            incarnation,
            folder_id: FolderId([broker.0 as u8; 16]),
            addresses: vec![Address { host: "localhost".into(), port: 7000 }],
            held: HeldPartitions::default(),
            start: Start::InCluster { rack: None, replaces_folder: None },
        }));
    }

    fn sees_image(&mut self) -> Effects {
        let mut effects = Vec::new();
        self.member.on_image(self.now, &self.image, self.index, &mut effects);
        effects
    }

    fn passes(&mut self, ms: u64) -> Effects {
        self.now += Duration::from_millis(ms);
        let mut effects = Vec::new();
        self.member.on_time(self.now, &mut effects);
        effects
    }

    /// The answer of a controller that has what is here.
    fn is_renewed(&mut self, sent: Duration) -> Effects {
        let state = self.image.broker(BROKER).unwrap().state;
        let renewal = Renewal { state, index: self.index, sent, lease: LEASE };
        let mut effects = Vec::new();
        self.member.on_renewed(self.now, Ok(renewal), &mut effects);
        effects
    }

    fn is_answered(&mut self, answer: Result<(), CommandError>) -> Effects {
        let mut effects = Vec::new();
        self.member.on_submitted(self.now, answer, &mut effects);
        effects
    }

    /// What it asks for is decided and seen.
    fn is_done(&mut self, command: Command) -> Effects {
        self.decide(command);
        let mut effects = self.sees_image();
        effects.extend(self.is_answered(Ok(())));
        effects
    }

    fn reports(&mut self, count: u32) -> Effects {
        let end = ReplicaEnd::default();
        let id = |partition| TopicPartition { topic_id: TopicId([9; 16]), partition: PartitionIndex(partition) };
        let replicas: Vec<_> = (0..count).map(|partition| (id(partition), Recovered::Whole { end })).collect();
        let mut effects = Vec::new();
        self.member.on_recovered(self.now, &replicas, &mut effects);
        effects
    }

    /// Let in, with a lease from now on.
    fn active() -> Self {
        let mut bench = Self::new();
        bench.sees_image();
        assert!(matches!(bench.passes(0)[..], [Effect::Renew]));
        bench.is_renewed(Duration::ZERO);
        let reported = submitted(&bench.reports(3));
        assert!(bench.is_done(reported).is_empty());
        assert!(matches!(bench.passes(0)[..], [Effect::Renew]), "how far is the controller?");
        assert_eq!(submitted(&bench.is_renewed(Duration::ZERO)), unfence(BROKER));
        bench.is_done(unfence(BROKER));
        assert!(matches!(bench.passes(0)[..], [Effect::Renew]), "at once");
        let sent = bench.now;
        assert!(matches!(bench.is_renewed(sent)[..], [Effect::Lease(Some(until))] if until == sent + LEASE));
        bench
    }

    /// The broker leads one partition that has a replica on broker 1.
    fn leading() -> Self {
        let mut bench = Self::active();
        let (topic_id, name) = (TopicId([9; 16]), "orders".to_owned());
        let settings = vec![("min_insync_replicas".to_owned(), "1".to_owned())];
        bench.decide(Command::CreateTopic(CreateTopic { topic_id, name, partitions: 2, replication_factor: Some(2), settings }));
        bench.sees_image();
        assert_eq!(bench.image.led_by(BROKER).count(), 1);
        bench
    }

    fn shuts_down(&mut self, wait_ms: u64) -> Effects {
        let mut effects = Vec::new();
        self.member.on_shutdown(self.now, Duration::from_millis(wait_ms), &mut effects);
        effects
    }
}

fn report(broker: BrokerId, complete: bool) -> ReportRecovery {
    ReportRecovery { broker, incarnation: OWN, replicas: Vec::new(), complete }
}

fn unfence(broker: BrokerId) -> Command {
    Command::UnfenceBroker(sluice_metadata::UnfenceBroker { broker, incarnation: OWN })
}

fn end_lease() -> Command {
    Command::EndLease(sluice_metadata::EndLease { broker: BROKER, incarnation: OWN })
}

/// The one command of them.
fn submitted(effects: &Effects) -> Command {
    match &effects[..] {
        [Effect::Submit(command)] => command.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_said_before_the_shards_have_recovered() {
    let mut bench = Bench::new();
    assert!(bench.sees_image().is_empty());
    assert!(matches!(bench.passes(0)[..], [Effect::Renew]));
    assert!(bench.is_renewed(Duration::ZERO).is_empty(), "who recovers gets no lease");
    assert!(bench.passes(299).is_empty());
    assert!(matches!(bench.passes(1)[..], [Effect::Renew]));
}

#[test]
fn a_long_report_goes_in_pieces_of_which_the_last_completes_it() {
    let mut bench = Bench::new();
    bench.sees_image();
    let most = u32::try_from(PARTITIONS_PER_COMMAND_MAX).unwrap();
    let mut effects = bench.reports(2 * most + 5);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let command = submitted(&effects);
        let Command::ReportRecovery(piece) = &command else { panic!("{command:?}") };
        seen.push((piece.replicas.len(), piece.complete));
        // What was not answered is said again, after a pause.
        assert!(bench.is_answered(Err(CommandError::Undecided)).is_empty());
        let again = bench.passes(200).into_iter().filter(|effect| !matches!(effect, Effect::Renew)).collect();
        assert_eq!(submitted(&again), command);
        effects = bench.is_done(command);
    }
    assert_eq!(seen, [(most as usize, false), (most as usize, false), (5, true)]);
    assert!(effects.is_empty(), "without a word of the controller it is not known how far the metadata is");
    let mut nothing_found = Bench::new();
    nothing_found.sees_image();
    assert_eq!(submitted(&nothing_found.reports(0)), Command::ReportRecovery(report(BROKER, true)));
}

#[test]
fn it_is_let_in_once_its_image_is_up_to_date() {
    let mut bench = Bench::new();
    bench.sees_image();
    bench.passes(0);
    let reported = submitted(&bench.reports(1));
    bench.is_done(reported);
    // The controller is one batch ahead of what is seen here.
    bench.create(1);
    assert!(bench.is_renewed(Duration::ZERO).is_empty());
    assert_eq!(submitted(&bench.sees_image()), unfence(BROKER));
}

impl Bench {
    fn create(&mut self, number: u8) {
        let (topic_id, name) = (TopicId([number; 16]), format!("topic-{number}"));
        let settings = Vec::new();
        self.decide(Command::CreateTopic(CreateTopic { topic_id, name, partitions: 1, replication_factor: Some(1), settings }));
    }
}

#[test]
fn a_lease_counts_from_sending_and_ends_by_the_clock() {
    let mut bench = Bench::active();
    let began = bench.now;
    assert!(matches!(bench.passes(300)[..], [Effect::Renew]));
    let sent = bench.now;
    // On its way for a long time.
    assert!(bench.passes(500).is_empty());
    assert!(matches!(bench.is_renewed(sent)[..], [Effect::Lease(Some(until))] if until == sent + LEASE));
    assert!(matches!(bench.passes(0)[..], [Effect::Renew]), "the next one is overdue");
    assert!(bench.passes(499).is_empty());
    assert_eq!(bench.member.next_time(), Some(sent + LEASE));
    assert!(matches!(bench.passes(1)[..], [Effect::Lease(None)]), "{:?} after {began:?}", bench.now);
    assert!(bench.passes(5000).is_empty(), "told once, and one renewal at a time");
    // An answer from before the end grants nothing any more.
    assert!(bench.is_renewed(sent + Duration::from_millis(500)).is_empty());
    assert!(matches!(bench.passes(0)[..], [Effect::Renew]));
    let sent = bench.now;
    assert!(matches!(bench.is_renewed(sent)[..], [Effect::Lease(Some(_))]), "regained");
}

#[test]
fn who_was_fenced_is_told_at_once_and_asks_to_be_let_in_again() {
    for by_image in [true, false] {
        let mut bench = Bench::active();
        bench.passes(300);
        let sent = bench.now;
        bench.decide(end_lease());
        let effects = match by_image {
            true => bench.sees_image(),
            false => bench.is_renewed(sent),
        };
        assert!(matches!(effects[0], Effect::Lease(None)), "{effects:?}");
        let effects = match by_image {
            true => bench.is_renewed(sent),
            false => bench.sees_image(),
        };
        assert_eq!(submitted(&effects), unfence(BROKER), "without another report");
        bench.is_done(unfence(BROKER));
        bench.passes(0);
        let sent = bench.now;
        assert!(matches!(bench.is_renewed(sent)[..], [Effect::Lease(Some(_))]));
    }
}

#[test]
fn an_image_from_before_the_lease_does_not_end_it() {
    let mut bench = Bench::new();
    bench.sees_image();
    bench.passes(0);
    bench.decide(Command::ReportRecovery(report(BROKER, true)));
    bench.decide(unfence(BROKER));
    // The controller is ahead, as after an answer that was lost.
    assert!(matches!(bench.is_renewed(Duration::ZERO)[..], [Effect::Lease(Some(_))]));
    let (image, index) = (bench.image.clone(), bench.index);
    let mut earlier = Bench::new();
    earlier.decide(Command::ReportRecovery(report(BROKER, true)));
    (bench.image, bench.index) = (earlier.image, earlier.index);
    assert!(bench.sees_image().is_empty());
    (bench.image, bench.index) = (image, index);
    assert!(bench.sees_image().is_empty());
    assert!(bench.member.lease_until.is_some());
}

#[test]
fn another_start_of_the_same_broker_is_the_end() {
    let current = Incarnation { number: 6, random: 1 };
    let is_superseded = |effects: &Effects| {
        matches!(effects[..], [Effect::Lease(None), Effect::End(Err(MembershipError::Superseded { own: OWN, current: got, .. }))]
            if got == current)
    };
    let mut bench = Bench::active();
    bench.register(BROKER, current);
    assert!(is_superseded(&bench.sees_image()));
    assert!(bench.passes(10_000).is_empty() && bench.sees_image().is_empty(), "nothing follows");
    let fenced = || CommandError::Refused(Refusal::FencedIncarnation { broker: BROKER, got: OWN, current });
    let mut bench = Bench::active();
    bench.passes(300);
    let mut effects = Vec::new();
    bench.member.on_renewed(bench.now, Err(fenced()), &mut effects);
    assert!(is_superseded(&effects));
    let mut bench = Bench::active();
    bench.shuts_down(1000);
    assert!(is_superseded(&bench.is_answered(Err(fenced()))));
}

#[test]
fn a_clean_stop_hands_over_and_then_gives_the_lease_up() {
    let mut bench = Bench::leading();
    let asked = submitted(&bench.shuts_down(10_000));
    assert!(matches!(asked, Command::BeginShutdown(_)));
    bench.decide(asked);
    assert_eq!(bench.image.led_by(BROKER).count(), 0);
    assert!(bench.sees_image().is_empty(), "one command at a time");
    let effects = bench.is_answered(Ok(()));
    assert!(matches!(&effects[..], [Effect::Lease(None), Effect::Submit(command)] if *command == end_lease()), "{effects:?}");
    // A renewal that was under way brings it no lease.
    bench.passes(300);
    let sent = bench.now;
    assert!(bench.is_renewed(sent).is_empty());
    bench.decide(end_lease());
    assert!(matches!(bench.sees_image()[..], [Effect::End(Ok(()))]));
}

#[test]
fn who_leads_alone_asks_again_and_waits_only_so_long() {
    let mut bench = Bench::leading();
    bench.decide(Command::EndLease(sluice_metadata::EndLease { broker: BrokerId(1), incarnation: OWN }));
    bench.sees_image();
    let asked = submitted(&bench.shuts_down(1200));
    assert!(bench.is_done(asked.clone()).is_empty(), "nobody else can lead");
    let mut again = 0;
    let mut ended = None;
    for step in 0..130 {
        for effect in bench.passes(10) {
            match effect {
                Effect::Submit(Command::BeginShutdown(_)) => {
                    again += 1;
                    assert!(bench.is_answered(Ok(())).is_empty());
                }
                Effect::Renew => {
                    let sent = bench.now;
                    bench.is_renewed(sent);
                }
                Effect::Submit(command) if command == end_lease() => ended = Some(10 * (step + 1)),
                Effect::Lease(None) => assert_eq!(ended, None),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((again, ended), (2, Some(1200)));
    // That it is not decided is no reason to stay.
    assert!(matches!(bench.is_answered(Err(CommandError::Undecided))[..], [Effect::End(Ok(()))]));
}

#[test]
fn who_has_nothing_to_give_away_stops_at_once() {
    let mut recovering = Bench::new();
    recovering.sees_image();
    recovering.reports(3);
    assert!(matches!(recovering.shuts_down(1000)[..], [Effect::End(Ok(()))]));
    // What lets it in may be decided yet.
    let mut bench = Bench::active();
    bench.decide(end_lease());
    bench.sees_image();
    bench.passes(300);
    let sent = bench.now;
    assert_eq!(submitted(&bench.is_renewed(sent)), unfence(BROKER));
    assert!(bench.shuts_down(1000).is_empty());
    assert!(matches!(submitted(&bench.is_done(unfence(BROKER))), Command::BeginShutdown(_)));
}
