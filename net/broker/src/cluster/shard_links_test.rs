use super::*;
use crate::control_message::Answer;
use sluice_metadata::{ClusterId, Image};

fn image(index: u64) -> AppliedImage {
    AppliedImage { index, image: Arc::new(Image::new(ClusterId([1; 16]))) }
}

fn links(count: usize) -> (ShardLinks, Vec<async_channel::Receiver<ToShard>>) {
    let (shards, mailboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| async_channel::unbounded()).unzip();
    (ShardLinks::new(BrokerId(1), shards, image(5)), mailboxes)
}

/// The next message, once everything that is queued has been carried over.
async fn next(mailbox: &async_channel::Receiver<ToShard>) -> Option<ToShard> {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    mailbox.try_recv().ok()
}

async fn view(mailbox: &async_channel::Receiver<ToShard>) -> u64 {
    match next(mailbox).await {
        Some(ToShard::View { version, .. }) => version,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_view_is_on_its_way_and_the_newest_follows() {
    let (mut links, mailboxes) = links(2);
    links.on_image(image(5));
    assert!(next(&mailboxes[0]).await.is_none(), "they were started with it");
    links.on_image(image(6));
    let first = view(&mailboxes[0]).await;
    links.on_image(image(7));
    links.on_image(image(9));
    assert!(next(&mailboxes[0]).await.is_none());
    links.on_applied(ShardIndex(0), first);
    let second = view(&mailboxes[0]).await;
    assert_eq!(links.links[0].told, Some((second, 9)), "in one");
    links.on_applied(ShardIndex(0), first);
    assert_eq!(links.links[0].applied, 6, "a version that was not told counts for nothing");
    links.on_image(image(8));
    assert_eq!(links.image().index, 9, "an older image never replaces a newer one");
}

#[tokio::test]
async fn what_follows_from_a_view_comes_behind_it() {
    let (mut links, mailboxes) = links(2);
    let own = || ToShard::Answer { token: 1, answer: Answer::Done };
    let all = || ToShard::Answer { token: 2, answer: Answer::Done };
    links.tell_after(After::All, 5, ShardIndex(0), all());
    assert!(matches!(next(&mailboxes[0]).await, Some(ToShard::Answer { token: 2, .. })), "it is so already");
    // Told before the image is here.
    links.tell_after(After::Own, 6, ShardIndex(0), own());
    links.tell_after(After::All, 6, ShardIndex(0), all());
    assert!(next(&mailboxes[0]).await.is_none());
    links.on_image(image(6));
    let (first, second) = (view(&mailboxes[0]).await, view(&mailboxes[1]).await);
    assert!(next(&mailboxes[0]).await.is_none());
    links.on_applied(ShardIndex(0), first);
    assert!(matches!(next(&mailboxes[0]).await, Some(ToShard::Answer { token: 1, .. })));
    assert!(next(&mailboxes[0]).await.is_none(), "the other shard has not acted on it");
    links.on_applied(ShardIndex(1), second);
    assert!(matches!(next(&mailboxes[0]).await, Some(ToShard::Answer { token: 2, .. })));
    assert!(links.held_back.is_empty());
}
