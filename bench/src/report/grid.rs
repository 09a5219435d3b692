//! A table before it is text or HTML: headings, rows, and empty columns that nobody has to look at.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Widest line of a table in a terminal; wider ones are wrapped within their cells.
const TEXT_WIDTH_MAX: usize = 120;

/// What a column holds, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// To the right.
    Number,
}

/// Rows of cells; an empty cell is a figure that does not apply.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    columns: Vec<(String, Kind)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(columns: &[(&str, Kind)]) -> Self {
        let columns = columns.iter().map(|(heading, kind)| ((*heading).to_owned(), *kind)).collect();
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "a cell for every column");
        self.rows.push(row);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn columns(&self) -> &[(String, Kind)] {
        &self.columns
    }

    pub(super) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Without the columns in which no row has anything.
    pub(super) fn without_empty_columns(self) -> Self {
        let used: Vec<bool> = (0..self.columns.len()).map(|index| self.rows.iter().any(|row| !row[index].is_empty())).collect();
        let keep = |index: &usize| used[*index];
        let pick = |row: &Vec<String>| (0..row.len()).filter(keep).map(|index| row[index].clone()).collect();
        Self {
            columns: (0..self.columns.len()).filter(keep).map(|index| self.columns[index].clone()).collect(),
            rows: self.rows.iter().map(pick).collect(),
        }
    }

    /// Lines for a terminal, each indented by one space.
    pub(super) fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|(heading, _)| heading));
        for row in &self.rows {
            table.add_row(row);
        }
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            if let (Kind::Number, Some(column)) = (kind, table.column_mut(index)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if table.lines().any(|line| line.chars().count() > TEXT_WIDTH_MAX) {
            table.set_content_arrangement(ContentArrangement::DynamicFullWidth);
            table.set_width(TEXT_WIDTH_MAX as u16);
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_columns_go_and_wide_tables_are_wrapped() {
        let mut grid = Grid::new(&[("system", Kind::Text), ("p50", Kind::Number), ("never", Kind::Number), ("note", Kind::Text)]);
        grid.push(vec!["sluice".into(), "95 µs".into(), String::new(), "word ".repeat(60)]);
        grid.push(vec!["kafka".into(), "1.25 ms".into(), String::new(), String::new()]);
        let text = grid.without_empty_columns().to_text();
        assert!(!text.contains("never") && text.contains("  95 µs"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= TEXT_WIDTH_MAX), "{text}");
    }
}
