//! Tables on standard output: for people by default, as one JSON document on request.
//!
//! A cell is a JSON value, so both forms come from the same rows. Deliberately absent: colours and cursor
//! movement; a table may be piped.

use crate::exit_status::Failure;
use comfy_table::presets;
use serde_json::{Map, Value};
use std::io::Write;

/// A column: its key in JSON is its heading in the table, and numbers stand to the right.
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(crate) fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the rows: as a JSON array of objects, or as a table that says `none` when there is no row.
    pub(crate) fn print(&self, json: bool, none: &str) -> Result<(), Failure> {
        let text = if json {
            serde_json::to_string_pretty(&self.to_json()).expect("plain values serialise")
        } else if self.is_empty() {
            none.to_owned()
        } else {
            self.to_text()
        };
        print_line(&text)
    }

    pub(crate) fn to_json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let cells = self.columns.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), cell.clone()));
            Value::Object(cells.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }

    pub(crate) fn to_text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.columns.iter().map(|column| column.replace('_', " ")));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let text = match cell {
                    Value::String(text) => text.clone(),
                    Value::Null => "-".to_owned(),
                    Value::Array(items) if items.is_empty() => "-".to_owned(),
                    Value::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                    Value::Object(pairs) => {
                        pairs.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(" ")
                    }
                    other => other.to_string(),
                };
                let cell_out = comfy_table::Cell::new(text);
                if cell.is_number() { cell_out.set_alignment(comfy_table::CellAlignment::Right) } else { cell_out }
            }));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A value without the quotes of a JSON string.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// One line (or text of several) on standard output.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_from_the_same_rows() {
        let mut table = Table::new(&["name", "partition_count"]);
        table.push(vec!["orders".into(), 12.into()]);
        table.push(vec!["a".into(), Value::Null]);
        table.push(vec![serde_json::json!({"segment_len": "1MiB", "replicas": 1}), 2.into()]);
        assert_eq!(table.to_json()[0]["partition_count"], 12);
        assert_eq!(table.to_json()[2]["name"]["segment_len"], "1MiB");
        let text = table.to_text();
        assert!(text.starts_with(" name ") && text.contains("orders") && text.lines().count() == 4, "{text}");
        assert!(text.contains("replicas=1 segment_len=1MiB") || text.contains("segment_len=1MiB replicas=1"), "{text}");
    }
}
