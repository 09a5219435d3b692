use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn voter(id: u32) -> ClusterVoter {
    ClusterVoter { broker: BrokerId(id), host: "localhost".to_owned(), port: 7500 }
}

fn config(voters: &[u32]) -> ClusterConfig {
    ClusterConfig {
        voters: voters.iter().map(|&id| voter(id)).collect(),
        secret: ClusterSecret::new(&[7; 32]).expect("long enough"),
        controller_listen: "127.0.0.1:0".parse().expect("an address"),
        controller_advertise: None,
        rack: None,
        replaces_folder: None,
    }
}

#[test]
fn voters_are_read() {
    for (text, host, port) in [
        ("3@broker-3.example:7500", "broker-3.example", 7500),
        (" 3@10.0.0.3:1", "10.0.0.3", 1),
        ("3@[::1]:7500", "::1", 7500),
        ("3@::1:7500", "::1", 7500),
    ] {
        let voter = ClusterVoter::parse(text).expect(text);
        assert_eq!((voter.broker, voter.host.as_str(), voter.port), (BrokerId(3), host, port), "{text}");
    }
    for text in ["", "3", "3@host", "0@host:1", "-1@host:1", "x@host:1", "3@:1", "3@host:0", "3@host:70000", "3@a b:1", "3@a@b:1"]
    {
        let problem = ClusterVoter::parse(text).expect_err(text);
        assert!(problem.contains("1@broker-1.example:7500"), "{problem}");
    }
}

#[test]
fn an_odd_number_of_different_voters_elects() {
    for (voters, is_good) in
        [(vec![1], true), (vec![1, 2, 3], true), (vec![], false), (vec![1, 2], false), (vec![1, 2, 2], false)]
    {
        assert_eq!(config(&voters).check().is_ok(), is_good, "{voters:?}");
    }
    let too_many: Vec<u32> = (1..=CLUSTER_VOTERS_MAX as u32 + 2).collect();
    assert!(config(&too_many).check().expect_err("too many").to_string().contains("cluster_voters"));
    let rack = ClusterConfig { rack: Some("r".repeat(RACK_LEN_MAX + 1)), ..config(&[1]) };
    assert!(rack.check().expect_err("too long").to_string().contains("rack"));
}

#[test]
fn a_secret_is_long_enough_and_its_owners_alone() {
    let dir = tempfile::tempdir_in(std::env::temp_dir()).expect("a folder");
    let path = dir.path().join("secret");
    let wrong = |text: &[u8], mode: u32| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        read_cluster_secret(&path).map_err(|error| error.to_string())
    };
    let secret = ClusterSecret::new(&[b'x'; 32]);
    for end in ["", "\n", "\r\n"] {
        let read = wrong(format!("{}{end}", "x".repeat(32)).as_bytes(), 0o600);
        assert_eq!(read.as_ref().ok(), secret.as_ref().ok(), "{end:?}");
    }
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let problem = wrong(&[b'x'; 32], mode).expect_err("others may use it");
        assert!(problem.contains("chmod 600") && problem.contains("cluster_secret_file"), "{problem}");
    }
    for len in [0, 31, 1025, 5000] {
        let problem = wrong(&vec![b'x'; len], 0o600).expect_err("no length for a secret");
        assert!(problem.contains("32 to 1024 bytes") && !problem.contains("xxxx"), "{problem}");
    }
    assert!(wrong(&[b'x'; 1024], 0o400).is_ok());
    assert!(read_cluster_secret(dir.path()).expect_err("a folder").to_string().contains("not a file"));
    assert!(read_cluster_secret(&dir.path().join("none")).expect_err("missing").to_string().contains("none"));
}
