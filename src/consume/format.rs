//! How `consume` writes a record: its value by default, a JSON object, key and value, or a template.
//!
//! Bytes are written as they are, except in JSON, which shows what is not UTF-8 in hexadecimal under another name
//! (`value_hex`), so that a reader never takes an escaped text for the original.

use crate::units;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write as _;

/// What a template may name.
const FIELDS: &[(&str, Field)] = &[
    ("value", Field::Value),
    ("key", Field::Key),
    ("topic", Field::Topic),
    ("partition", Field::Partition),
    ("offset", Field::Offset),
    ("timestamp", Field::Timestamp),
    ("timestamp_ms", Field::TimestampMs),
    ("headers", Field::Headers),
];

pub(crate) const HELP: &str = "value, json, key-value (key, a tab, value), or a template in which {value} {key} {topic} {partition} {offset} \
                        {timestamp} {timestamp_ms} {headers} stand for themselves, and \\t \\n \\\\ {{ }} for one character; every record ends with a newline";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Value,
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampMs,
    Headers,
}

/// A record as the formats see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordView<'a> {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// `None` is a tombstone: written as nothing, `null` in JSON.
    pub(crate) value: Option<&'a [u8]>,
    /// Empty when there are none, or when `Format::needs_headers` is false.
    pub(crate) headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Value,
    Json,
    Template(Template),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "value" => Ok(Self::Value),
            "json" => Ok(Self::Json),
            "key-value" => parse_template("{key}\\t{value}"),
            _ if text.contains('{') => parse_template(text),
            _ => Err(format!("{text:?} names no format: use {HELP}")),
        }
    }
}

fn parse_template(text: &str) -> Result<Format, String> {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                plain.push(c as u8);
            }
            '{' => {
                let name: String = chars.by_ref().take_while(|&c| c != '}').collect();
                let field = FIELDS.iter().find(|(known, _)| *known == name).map(|&(_, field)| field);
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Field(field.ok_or_else(|| format!("a template cannot name {{{name}}}: use {HELP}"))?));
            }
            '}' => return Err("a lone } in the template: write }} for one".to_owned()),
            '\\' => plain.push(match chars.next() {
                Some('t') => b'\t',
                Some('n') => b'\n',
                Some('\\') => b'\\',
                other => return Err(format!("\\{} in the template: only \\t, \\n and \\\\ are known", other.unwrap_or(' '))),
            }),
            c => plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Format::Template(Template(pieces)))
}

impl Format {
    /// Whether `RecordView::headers` has to be filled in.
    pub(crate) fn needs_headers(&self) -> bool {
        match self {
            Self::Value => false,
            Self::Json => true,
            Self::Template(Template(pieces)) => pieces.contains(&Piece::Field(Field::Headers)),
        }
    }

    /// Appends the record and a newline.
    pub(crate) fn write(&self, topic: &str, record: &RecordView<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Value => out.extend_from_slice(record.value.unwrap_or_default()),
            Self::Json => serde_json::to_writer(&mut *out, &to_json(topic, record)).expect("memory takes every write"),
            Self::Template(Template(pieces)) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text),
                        Piece::Field(field) => write_field(*field, topic, record, out),
                    }
                }
            }
        }
        out.push(b'\n');
    }
}

fn write_field(field: Field, topic: &str, record: &RecordView<'_>, out: &mut Vec<u8>) {
    let number = |out: &mut Vec<u8>, number: i128| write!(out, "{number}").expect("memory takes every write");
    match field {
        Field::Value => out.extend_from_slice(record.value.unwrap_or_default()),
        Field::Key => out.extend_from_slice(record.key.unwrap_or_default()),
        Field::Topic => out.extend_from_slice(topic.as_bytes()),
        Field::Partition => number(out, record.partition.into()),
        Field::Offset => number(out, record.offset.into()),
        Field::Timestamp => out.extend_from_slice(units::format_timestamp_ms(record.timestamp_ms).as_bytes()),
        Field::TimestampMs => number(out, record.timestamp_ms.into()),
        Field::Headers => {
            for (i, (name, value)) in record.headers.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"" } else { b"," });
                out.extend_from_slice(name);
                out.push(b'=');
                out.extend_from_slice(value.unwrap_or_default());
            }
        }
    }
}

fn to_json(topic: &str, record: &RecordView<'_>) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), topic.into());
    object.insert("partition".to_owned(), record.partition.into());
    object.insert("offset".to_owned(), record.offset.into());
    object.insert("timestamp_ms".to_owned(), record.timestamp_ms.into());
    put_bytes(&mut object, "key", record.key);
    put_bytes(&mut object, "value", record.value);
    if !record.headers.is_empty() {
        let header = |&(name, value): &(&[u8], Option<&[u8]>)| {
            let mut header = Map::new();
            put_bytes(&mut header, "name", Some(name));
            put_bytes(&mut header, "value", value);
            Value::Object(header)
        };
        object.insert("headers".to_owned(), json!(record.headers.iter().map(header).collect::<Vec<_>>()));
    }
    Value::Object(object)
}

fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), text.into()),
        Some(Err(_)) => {
            let mut hex = String::new();
            bytes.unwrap_or_default().iter().for_each(|byte| {
                let _ = write!(hex, "{byte:02x}");
            });
            object.insert(format!("{name}_hex"), hex.into())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"i", None)];
        let record = RecordView { partition: 3, offset: 42, timestamp_ms: 1_700_000_000_000, key, value, headers };
        let mut out = Vec::new();
        format.parse::<Format>().unwrap().write("orders", &record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn records_are_written_as_asked() {
        for (format, text) in [
            ("value", "v\n"),
            ("key-value", "k\tv\n"),
            ("{topic}/{partition}@{offset}", "orders/3@42\n"),
            ("{timestamp} {timestamp_ms}", "2023-11-14T22:13:20.000Z 1700000000000\n"),
            ("{{{headers}}}\\t\\\\é", "{h=1,i=}\t\\é\n"),
        ] {
            assert_eq!(written(format, Some(b"k"), Some(b"v")), text, "{format}");
        }
    }

    #[test]
    fn json_tells_text_bytes_and_nothing_apart() {
        let json: Value = serde_json::from_str(&written("json", None, Some(b"\xff\x00"))).unwrap();
        assert_eq!(json["key"], Value::Null);
        assert_eq!(json["value_hex"], "ff00");
        assert!(json.get("value").is_none());
        assert_eq!(json["headers"][0], json!({"name": "h", "value": "1"}));
        let json: Value = serde_json::from_str(&written("json", Some(b"k"), None)).unwrap();
        assert_eq!((&json["key"], &json["value"]), (&json!("k"), &Value::Null));
    }

    #[test]
    fn what_is_no_format_says_what_is() {
        for (format, part) in [("yaml", "key-value"), ("{ofset}", "{offset}"), ("{value}}", "lone"), ("{value}\\x", "\\t")] {
            let error = format.parse::<Format>().unwrap_err();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}
