use super::*;
use proptest::prelude::*;

#[test]
fn patterns() {
    let table = [
        ("*", "anything", true),
        ("orders", "orders", true),
        ("orders", "orders2", false),
        ("orders-*", "orders-", true),
        ("orders-*", "orders-eu-1", true),
        ("orders-*", "my-orders-eu", false),
        ("*-eu", "orders-eu-eu", true),
        ("*-eu", "orders-eu-1", false),
        ("o?ders", "orders", true),
        ("o?ders", "oders", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxcyyb", false),
        ("a**", "a", true),
        ("?*", "a", true),
        ("a.c", "abc", false),
    ];
    for (pattern, name, expected) in table {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

/// Quadratic at most: with stars that never fit, an exponential matcher would not come back.
#[test]
fn a_hostile_pattern_costs_little() {
    let pattern = "a*".repeat(TOPIC_NAME_LEN_MAX / 2) + "b";
    assert!(!matches(&pattern, &"a".repeat(TOPIC_NAME_LEN_MAX)));
}

#[test]
fn what_is_wrong_with_a_subscription() {
    let fault = |topics: &[&str], patterns: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Subscription { topics: owned(topics), patterns: owned(patterns) }.check()
    };
    assert_eq!(fault(&["a"], &["b-*", "?"]), Ok(()));
    assert_eq!(fault(&[], &[]), Err(SubscriptionFault::Empty));
    assert_eq!(fault(&["a*"], &[]), Err(SubscriptionFault::Name { got: "a*".into() }));
    assert_eq!(fault(&["a", ""], &[]), Err(SubscriptionFault::Name { got: String::new() }));
    assert_eq!(fault(&[], &["(a|b)"]), Err(SubscriptionFault::Pattern { got: "(a|b)".into() }));
    let many = vec!["a"; TOPICS_PER_SUBSCRIPTION_MAX + 1];
    assert_eq!(fault(&many, &[]), Err(SubscriptionFault::TooManyTopics { got: 1001, max: 1000 }));
    assert_eq!(fault(&[], &many[..33]), Err(SubscriptionFault::TooManyPatterns { got: 33, max: 32 }));
    let long = "x".repeat(100_000);
    assert!(fault(&[&long], &[]).unwrap_err().to_string().len() < 300);
}

/// The same, by the definition.
fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if matches_slowly(rest, name) => true,
        (Some((b'*', _)), Some((_, name))) => matches_slowly(pattern, name),
        (Some((p, pattern)), Some((n, name))) => (*p == b'?' || p == n) && matches_slowly(pattern, name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn the_matcher_is_the_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        prop_assert_eq!(matches(&pattern, &name), matches_slowly(pattern.as_bytes(), name.as_bytes()));
    }
}
