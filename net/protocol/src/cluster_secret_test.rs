use super::*;

fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(&[byte; CLUSTER_SECRET_LEN_MIN]).expect("long enough")
}

fn name(broker: u32, nonce: u8) -> BrokerName {
    let incarnation = Incarnation { number: u64::from(broker) + 4, random: 9 };
    BrokerName { broker: BrokerId(broker), incarnation, shard: ShardIndex(3), nonce: [nonce; 32] }
}

fn introduction() -> Introduction {
    Introduction { role: BrokerRole::Follower, connecting: name(2, 0xaa), accepting: name(1, 0xbb) }
}

fn hex(proof: Proof) -> String {
    proof.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computed once by another implementation of HMAC-SHA-256 over the bytes that the fields make.
#[test]
fn the_proofs_are_the_published_ones() {
    let secret = secret(7);
    assert_eq!(
        hex(secret.prove(ProofOf::Connecting, &introduction())),
        "43effe3929feaa6788b3a7f8e012b74f432b1278b45ff71f660697409d201295"
    );
    assert_eq!(
        hex(secret.prove(ProofOf::Accepting, &introduction())),
        "d83f21b83d2f2cf8163f9ab07e68b4c813eaa83f7987c668739c44a4a7f1a4f7"
    );
}

#[test]
fn a_proof_holds_for_exactly_what_it_was_made_for() {
    let (secret, told) = (secret(7), introduction());
    let proof = secret.prove(ProofOf::Connecting, &told);
    assert!(secret.is_proof(ProofOf::Connecting, &told, &proof));
    assert!(!secret.is_proof(ProofOf::Accepting, &told, &proof), "no side is told its own proof back");
    let changed: [fn(&mut Introduction); 12] = [
        |told| told.role = BrokerRole::Controller,
        |told| std::mem::swap(&mut told.connecting, &mut told.accepting),
        |told| told.connecting.broker = BrokerId(3),
        |told| told.connecting.incarnation.number += 1,
        |told| told.connecting.incarnation.random += 1,
        |told| told.connecting.shard = ShardIndex(0),
        |told| told.connecting.nonce[31] ^= 1,
        |told| told.accepting.broker = BrokerId(3),
        |told| told.accepting.incarnation.number += 1,
        |told| told.accepting.incarnation.random += 1,
        |told| told.accepting.shard = ShardIndex(0),
        |told| told.accepting.nonce[0] ^= 1,
    ];
    for (number, change) in changed.iter().enumerate() {
        let mut other = told;
        change(&mut other);
        assert!(!secret.is_proof(ProofOf::Connecting, &other, &proof), "change {number}");
    }
    assert!(!self::secret(8).is_proof(ProofOf::Connecting, &told, &proof), "another secret");
    for at in 0..proof.len() {
        let mut other = proof;
        other[at] ^= 1;
        assert!(!secret.is_proof(ProofOf::Connecting, &told, &other), "byte {at}");
    }
}

#[test]
fn a_secret_has_a_length_and_is_never_shown() {
    for (len, is_one) in [(0, false), (31, false), (32, true), (1024, true), (1025, false)] {
        assert_eq!(ClusterSecret::new(&vec![b'x'; len]).is_ok(), is_one, "{len}");
    }
    let shown = format!("{:?}", ClusterSecret::new(&[b'x'; 40]).expect("long enough"));
    assert!(shown.contains("40") && !shown.contains("xx"), "{shown}");
    assert!(SecretLenError { got: 5 }.to_string().contains("32 to 1024"));
}
