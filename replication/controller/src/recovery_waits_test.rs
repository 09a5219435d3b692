use super::*;
use crate::command::Command;
use sluice_metadata::{
    Address, Batch, ClusterId, CreateTopic, EndLease, FolderId, HeldPartitions, RegisterBroker, ReportRecovery, Start,
    UnfenceBroker,
};
use sluice_model::{BrokerId, Incarnation, PartitionIndex, TopicId};

const OWN: Incarnation = Incarnation { number: 1, random: 7 };

fn decide(image: &mut Image, command: &Command) {
    let records = command.decide(image).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}")).records;
    image.apply_batch(&Batch { records }).unwrap();
}

/// One broker that leads a partition.
fn leading() -> Image {
    let (broker, incarnation) = (BrokerId(1), OWN);
    let mut image = Image::new(ClusterId([1; 16]));
    let addresses = vec![Address { host: "localhost".into(), port: 7000 }];
    let (held, start) = (HeldPartitions::default(), Start::InCluster { rack: None, replaces_folder: None });
    let folder_id = FolderId([1; 16]);
    decide(&mut image, &Command::RegisterBroker(RegisterBroker { broker, incarnation, folder_id, addresses, held, start }));
    decide(&mut image, &Command::ReportRecovery(ReportRecovery { broker, incarnation, replicas: Vec::new(), complete: true }));
    decide(&mut image, &Command::UnfenceBroker(UnfenceBroker { broker, incarnation }));
    let (topic_id, name) = (TopicId([9; 16]), "orders".to_owned());
    let topic = CreateTopic { topic_id, name, partitions: 1, replication_factor: Some(1), settings: Vec::new() };
    decide(&mut image, &Command::CreateTopic(topic));
    image
}

#[test]
fn only_who_waits_for_long_is_named_and_then_until_it_is_led() {
    let led = leading();
    let mut leaderless = led.clone();
    decide(&mut leaderless, &Command::EndLease(EndLease { broker: BrokerId(1), incarnation: OWN }));
    let mut waits = RecoveryWaits::default();
    let at = Duration::from_secs;
    waits.on_leading(at(100));
    assert_eq!(waits.look(at(100), &leaderless), None);
    assert_eq!(waits.next_look(), at(101));
    // It was led in between: the wait begins anew.
    assert_eq!(waits.look(at(120), &led), None);
    assert_eq!(waits.look(at(121), &leaderless), None);
    assert_eq!(waits.look(at(150), &leaderless), None);
    let id = TopicPartition { topic_id: TopicId([9; 16]), partition: PartitionIndex(0) };
    let ended = Some(EndRecoveryWait { partitions: Some([id].into_iter().collect()) });
    assert_eq!(waits.look(at(151), &leaderless), ended);
    assert_eq!(waits.look(at(151), &leaderless), None, "not before the next look");
    assert_eq!(waits.look(at(152), &leaderless), ended);
    // Another controller has not seen how long.
    waits.on_leading(at(153));
    assert_eq!(waits.look(at(153), &leaderless), None);
}
