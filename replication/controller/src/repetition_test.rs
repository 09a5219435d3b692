use super::*;
use crate::fuzzing::commands;
use sluice_metadata::PartitionRefusal;
use sluice_model::{BrokerId, TopicId};

#[test]
fn what_names_only_a_name_is_not_asked_again() {
    let not_again: Vec<String> = commands()
        .iter()
        .filter(|command| !command.may_be_repeated())
        .map(|command| format!("{command:?}").split('(').next().unwrap().to_owned())
        .collect();
    assert_eq!(not_again, ["EndRecoveryWait", "AlterTopic", "DeleteTopic"]);
}

#[test]
fn only_its_own_topic_tells_a_creation_that_it_is_done() {
    let create = commands().into_iter().find(|command| matches!(command, Command::CreateTopic(_))).unwrap();
    let exists = |id| Refusal::TopicExists { name: "orders".into(), topic_id: TopicId([id; 16]) };
    assert!(create.is_refused_when_done(&exists(7)));
    assert!(!create.is_refused_when_done(&exists(8)), "another one's topic of that name");
    assert!(!create.is_refused_when_done(&Refusal::TopicIdTaken { topic_id: TopicId([7; 16]) }));
    let report = commands().into_iter().find(|command| matches!(command, Command::ReportRecovery(_))).unwrap();
    let reported = Refusal::RecoveryReported { broker: BrokerId(1) };
    assert!(report.is_refused_when_done(&reported) && !create.is_refused_when_done(&reported));
    let Command::ReportRecovery(mut piece) = report else { unreachable!("it was looked for") };
    piece.complete = false;
    assert!(!Command::ReportRecovery(piece).is_refused_when_done(&reported), "somebody else has said the last word");
}

#[test]
fn a_refusal_among_the_answers_of_a_repetition_says_nothing() {
    let done = Submitted { index: 4, has_changed: false, answers: Vec::new(), producer_ids: None };
    assert_eq!(after_loss(done.clone()), Some(Submitted { has_changed: true, ..done.clone() }));
    let refused = Submitted { answers: vec![Err(PartitionRefusal::NoLeader)], ..done };
    assert_eq!(after_loss(refused), None);
}
