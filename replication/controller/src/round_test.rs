use super::*;
use sluice_metadata::{Address, ClusterId, CreateTopic, DeleteTopic, FolderId, HeldPartitions, RegisterBroker, Start};
use sluice_model::{BrokerId, Incarnation, TopicId};

fn register(number: u64, port: u16) -> Command {
    Command::RegisterBroker(RegisterBroker {
        broker: BrokerId(1),
        incarnation: Incarnation { number, random: 7 },
        folder_id: FolderId([2; 16]),
        addresses: vec![Address { host: "localhost".into(), port }],
        held: HeldPartitions::default(),
        start: Start::Alone,
    })
}

fn create(number: u8, partitions: u32) -> Command {
    let (topic_id, name) = (TopicId([number; 16]), format!("topic-{number}"));
    Command::CreateTopic(CreateTopic { topic_id, name, partitions, replication_factor: None, settings: Vec::new() })
}

/// Applies the entries as every broker does.
fn applied(mut image: Image, base: u64, round: Round) -> (Image, Vec<usize>) {
    let mut sizes = Vec::new();
    for (expected, entry) in (base..).zip(round.into_entries()) {
        let LogEntry::Batch { base, batch } = entry else { panic!("a round has batches") };
        assert_eq!(base, expected);
        let batch = Batch::decode(&batch).unwrap();
        sizes.push(batch.records.len());
        image.apply_batch(&batch).unwrap();
    }
    (image, sizes)
}

#[test]
fn commands_of_one_round_are_one_entry_and_see_each_other() {
    let start = Image::new(ClusterId([1; 16]));
    let mut round = Round::new(&start, 5);
    assert!(round.is_empty() && round.index() == 5);
    round.decide(&register(1, 7400)).unwrap();
    round.decide(&create(1, 3)).unwrap();
    round.decide(&create(1, 3)).unwrap_err();
    round.decide(&Command::DeleteTopic(DeleteTopic { name: "topic-1".into() })).unwrap();
    assert_eq!(round.decide(&register(1, 7400)).unwrap().records, [], "it is so already");
    round.decide(&create(2, 3)).unwrap();
    assert_eq!(round.index(), 6);
    let expected = round.image.clone();
    assert_eq!(applied(start, 5, round), (expected, vec![4]));
}

/// What is too much for one entry is cut between records, but not within a registration.
#[test]
fn what_is_too_much_for_one_entry_is_several() {
    let mut image = Image::new(ClusterId([1; 16]));
    for command in [register(1, 7400), create(1, 10_000), create(2, 10_000)] {
        let mut round = Round::new(&image, 0);
        round.decide(&command).unwrap();
        image = applied(image, 0, round).0;
    }
    let mut round = Round::new(&image, 3);
    round.decide(&create(3, 1)).unwrap();
    let whole = round.decide(&register(2, 7401)).unwrap().records.len();
    assert!(whole > RECORDS_PER_BATCH_MAX && round.is_full() && round.index() == 5);
    let expected = round.image.clone();
    assert_eq!(applied(image.clone(), 3, round), (expected, vec![1, whole]));
}
