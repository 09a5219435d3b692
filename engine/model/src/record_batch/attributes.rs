//! The sixteen attribute bits of a batch. All are kept as they came, so that a batch leaves as it arrived.

/// How the records section is compressed. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    #[must_use]
    pub fn from_u8(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name it has in Kafka's settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

/// Whose clock the timestamps of a batch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's: base timestamp and deltas count.
    #[default]
    CreateTime,
    /// The broker's: `max_timestamp_ms` is the time of every record.
    LogAppendTime,
}

/// The attributes field of a frame header: bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub u16);

impl Attributes {
    const COMPRESSION: u16 = 0b0111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;

    /// Attributes of an ordinary batch.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self(compression as u16)
    }

    /// `None` for the three codes that name no codec.
    #[must_use]
    pub fn compression(self) -> Option<Compression> {
        Compression::from_u8((self.0 & Self::COMPRESSION) as u8)
    }

    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// A control batch carries markers of the broker, not records of an application.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_kafkas() {
        for codec in Compression::ALL {
            assert_eq!(Attributes::new(codec).compression(), Some(codec));
            assert_eq!(Compression::from_name(codec.name()), Some(codec));
        }
        for code in 5..8 {
            assert_eq!(Attributes(code).compression(), None);
        }
        assert_eq!(Attributes(8).timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(Attributes(0xfff7).timestamp_type(), TimestampType::CreateTime);
        assert!(Attributes(16).is_transactional() && !Attributes(16).is_control());
        assert!(Attributes(32).is_control() && !Attributes(32).is_transactional());
    }
}
