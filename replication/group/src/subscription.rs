//! What a member subscribes to: topics by name, and patterns of names.
//!
//! Patterns are matched here, against the topics that the caller passes in (`topics.rs`), so that every coordinator of
//! the same log and the same topics decides the same. A pattern is a glob: `*` is any run of characters, `?` is one, all
//! else is itself; no topic name contains either. That takes at most name times pattern steps, whatever a client sends,
//! which a regular expression does not promise. Several patterns stand for alternatives.

use crate::limits::{PATTERNS_PER_SUBSCRIPTION_MAX, TOPICS_PER_SUBSCRIPTION_MAX};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::TOPIC_NAME_LEN_MAX;
use std::fmt;

/// Topics that there are not yet are part of it as soon as they are created.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    /// At most `TOPICS_PER_SUBSCRIPTION_MAX`.
    pub topics: Vec<String>,
    /// At most `PATTERNS_PER_SUBSCRIPTION_MAX`.
    pub patterns: Vec<String>,
}

/// What is wrong with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionFault {
    /// It names nothing.
    Empty,
    TooManyTopics {
        got: usize,
        max: usize,
    },
    TooManyPatterns {
        got: usize,
        max: usize,
    },
    /// No topic can have this name.
    Name {
        got: String,
    },
    Pattern {
        got: String,
    },
}

impl fmt::Display for SubscriptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it names neither a topic nor a pattern"),
            Self::TooManyTopics { got, max } => write!(f, "it names {got} topics, at most {max} are allowed: use a pattern"),
            Self::TooManyPatterns { got, max } => write!(f, "it has {got} patterns, at most {max} are allowed"),
            Self::Name { got } => write!(f, "no topic can be called {got:?}"),
            Self::Pattern { got } => {
                write!(f, "the pattern {got:?} matches no topic: it is of letters, digits, '.', '_', '-', '*' and '?'")
            }
        }
    }
}

impl Subscription {
    /// The topics of these names.
    #[must_use]
    pub fn to_topics(names: &[&str]) -> Self {
        Self { topics: names.iter().map(|&name| name.to_owned()).collect(), patterns: Vec::new() }
    }

    pub(crate) fn check(&self) -> Result<(), SubscriptionFault> {
        use SubscriptionFault as Fault;
        let (topics, patterns) = (self.topics.len(), self.patterns.len());
        if topics + patterns == 0 {
            return Err(Fault::Empty);
        }
        if topics > TOPICS_PER_SUBSCRIPTION_MAX {
            return Err(Fault::TooManyTopics { got: topics, max: TOPICS_PER_SUBSCRIPTION_MAX });
        }
        if patterns > PATTERNS_PER_SUBSCRIPTION_MAX {
            return Err(Fault::TooManyPatterns { got: patterns, max: PATTERNS_PER_SUBSCRIPTION_MAX });
        }
        let of = |text: &str, also: &str| {
            let fits = !text.is_empty() && text.len() <= TOPIC_NAME_LEN_MAX;
            fits && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || also.contains(c))
        };
        if let Some(name) = self.topics.iter().find(|name| !of(name, "")) {
            return Err(Fault::Name { got: shortened(name) });
        }
        match self.patterns.iter().find(|pattern| !of(pattern, "*?")) {
            Some(pattern) => Err(Fault::Pattern { got: shortened(pattern) }),
            None => Ok(()),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TOPIC_NAME_LEN_MAX).collect()
}

/// Whether the whole of `name` is what `pattern` says.
#[must_use]
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // The last star, and where what it stands for ends so far. An earlier star never has to stand for more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, end)) = star else { return false };
                star = Some((at, end + 1));
                (p, n) = (at + 1, end + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
#[path = "subscription_test.rs"]
mod tests;
