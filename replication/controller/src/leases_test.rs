use super::*;
use sluice_metadata::{
    Address, Batch, BeginShutdown, ClusterId, FolderId, HeldPartitions, Record, RegisterBroker, ReportRecovery, Start,
    UnfenceBroker, on_begin_shutdown, on_lease_ended, on_register_broker, on_report_recovery, on_unfence_broker,
};

const LEASE: Duration = Duration::from_millis(1000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn apply(image: &mut Image, records: Vec<Record>) {
    image.apply_batch(&Batch { records }).unwrap();
}

fn ended_lease(image: &mut Image, broker: u32, incarnation: Incarnation) {
    let records = on_lease_ended(image, &EndLease { broker: BrokerId(broker), incarnation }).unwrap();
    apply(image, records);
}

fn started(image: &mut Image, broker: u32) -> Incarnation {
    let id = BrokerId(broker);
    let incarnation = Incarnation { number: image.next_incarnation_number(id), random: 7 };
    let addresses = vec![Address { host: "localhost".into(), port: 7400 }];
    let (held, start) = (HeldPartitions::default(), Start::InCluster { rack: None, replaces_folder: None });
    let folder_id = FolderId([u8::try_from(broker).unwrap(); 16]);
    let request = RegisterBroker { broker: id, incarnation, folder_id, addresses, held, start };
    let records = on_register_broker(image, &request).unwrap();
    apply(image, records);
    let report = ReportRecovery { broker: id, incarnation, replicas: Vec::new(), complete: true };
    let records = on_report_recovery(image, &report).unwrap();
    apply(image, records);
    let records = on_unfence_broker(image, &UnfenceBroker { broker: id, incarnation }).unwrap();
    apply(image, records);
    incarnation
}

fn ended(leases: &Leases, now: u64) -> Vec<u32> {
    leases.ended(ms(now)).iter().map(|lease| lease.broker.0).collect()
}

#[test]
fn a_lease_is_counted_from_the_last_word() {
    let mut image = Image::new(ClusterId([1; 16]));
    let (one, two) = (started(&mut image, 1), started(&mut image, 2));
    let mut leases = Leases::new(LEASE);
    leases.on_leading(ms(5000), &image);
    assert_eq!((leases.next_end(), ended(&leases, 5999)), (Some(ms(6000)), vec![]), "a new controller begins with a full one");
    leases.on_heartbeat(ms(5300), BrokerId(1), one);
    leases.on_heartbeat(ms(5200), BrokerId(1), one);
    assert_eq!(ended(&leases, 6299), [2]);
    assert_eq!(ended(&leases, 6300), [1, 2], "what comes late shortens nothing");
    leases.on_heartbeat(ms(5900), BrokerId(2), Incarnation { number: two.number + 1, ..two });
    leases.on_heartbeat(ms(5900), BrokerId(9), two);
    assert_eq!(ended(&leases, 6000), [2], "another start's word is not its word");
}

#[test]
fn the_metadata_says_who_has_a_lease() {
    let mut image = Image::new(ClusterId([1; 16]));
    let one = started(&mut image, 1);
    let mut leases = Leases::new(LEASE);
    leases.on_leading(ms(0), &image);
    let two = started(&mut image, 2);
    leases.on_image(ms(400), &image);
    assert_eq!((ended(&leases, 1000), ended(&leases, 1400)), (vec![1], vec![1, 2]));
    ended_lease(&mut image, 1, one);
    leases.on_image(ms(1000), &image);
    leases.on_heartbeat(ms(1000), BrokerId(1), one);
    assert_eq!(ended(&leases, 1399), [] as [u32; 0], "one that has ended is not renewed");
    let shutdown = BeginShutdown { broker: BrokerId(2), incarnation: two };
    let records = on_begin_shutdown(&image, &shutdown).unwrap();
    apply(&mut image, records);
    leases.on_image(ms(1100), &image);
    assert_eq!(ended(&leases, 1400), [2], "one that shuts down keeps the lease it has, and gets no longer one");
    let again = started(&mut image, 2);
    leases.on_image(ms(1400), &image);
    assert_eq!(leases.next_end(), Some(ms(2400)), "another start has another lease");
    leases.on_heartbeat(ms(1500), BrokerId(2), two);
    assert_eq!(leases.ended(ms(2400)), [EndLease { broker: BrokerId(2), incarnation: again }]);
}

#[test]
fn nobody_pays_for_the_controllers_own_pause() {
    let mut image = Image::new(ClusterId([1; 16]));
    started(&mut image, 1);
    let mut leases = Leases::new(LEASE);
    leases.on_leading(ms(0), &image);
    leases.on_stall(ms(700));
    assert_eq!((ended(&leases, 1699), ended(&leases, 1700)), (vec![], vec![1]));
}
