use sluice_controller::*;
use sluice_metadata::*;
use sluice_model::*;
use std::io::Write;
#[test]
fn full() {
    let Ok(dir) = std::env::var("FULL_DIR") else { return };
    let dir = std::path::Path::new(&dir);
    let path = dir.join("metadata.redb");
    let f = FolderId([2; 16]);
    let open = || Controller::open(&path, f, Some(ClusterId([1; 16])));
    let reg = |n: u64| RegisterBroker { broker: BrokerId(1), incarnation: Incarnation { number: n, random: 1 }, folder_id: f, addresses: vec![Address { host: "h".into(), port: 1 }] };
    let mut c = open().unwrap();
    c.register_broker(&reg(1)).unwrap();
    for n in 1..5u8 { c.create_topic(&CreateTopic { topic_id: TopicId([n; 16]), name: format!("t{n}"), partitions: 50, settings: vec![] }).unwrap(); }
    println!("len open {}", std::fs::metadata(&path).unwrap().len());
    drop(c);
    println!("len closed {}", std::fs::metadata(&path).unwrap().len());
    let mut fill = std::fs::File::create(dir.join("fill")).unwrap();
    let chunk = vec![1u8; 4096];
    while fill.write_all(&chunk).is_ok() {}
    drop(fill);
    let mut n = 2;
    for round in 0..200 {
        let mut c = match open() { Ok(c) => c, Err(e) => { println!("open {round}: {e}"); break } };
        match c.register_broker(&reg(n)) { Ok(_) => n += 1, Err(e) => { println!("register {round}: {e}"); 
            println!("delete {:?}", c.delete_topic(&DeleteTopic{name:"t1".into()}).map(|a| a.index)); break } }
        if round % 40 == 0 { println!("round {round} len {}", std::fs::metadata(&path).unwrap().len()); }
    }
    let mut c = open().unwrap();
    let mut k = 5u8;
    loop { match c.create_topic(&CreateTopic { topic_id: TopicId([k; 16]), name: format!("t{k}"), partitions: 2000, settings: vec![] }) { Ok(_) => k += 1, Err(e) => { println!("create {k}: {e}"); break } } }
    println!("small: {:?}", c.create_topic(&CreateTopic { topic_id: TopicId([99; 16]), name: "small".into(), partitions: 1, settings: vec![] }).map(|a| a.index));
    std::fs::remove_file(dir.join("fill")).unwrap();
    println!("after: {:?}", c.create_topic(&CreateTopic { topic_id: TopicId([k; 16]), name: format!("t{k}"), partitions: 2000, settings: vec![] }).map(|a| a.index));
    drop(c);
    let c = open().unwrap();
    println!("reopened {}", c.last_index());
}
