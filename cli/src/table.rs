//! Columns of text, aligned by spaces alone, so that `awk` and `cut` can read them as well as people.

use crate::terminal::{Look, Tone, printable};

/// Blanks between columns.
const GAP: usize = 3;
/// The last column is not wrapped to fewer characters than this.
const NARROWEST: usize = 24;

/// What stands in a row and a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// Columns that become wider with what is put into them, for rows that come one by one.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    widths: Vec<usize>,
}

/// Rows below a head.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// Text with a meaning; what is empty is shown as `-`.
    pub(crate) fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        let text = printable(text.as_ref()).replace('\n', " ");
        Self { text: if text.is_empty() { "-".to_owned() } else { text }, tone }
    }

    /// Text without one.
    pub(crate) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Tone::Plain, text)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Columns {
    /// Wide enough for the head and these rows.
    pub(crate) fn fit<'rows>(head: &[&str], rows: impl IntoIterator<Item = &'rows Vec<Cell>>) -> Self {
        let mut columns = Self { widths: head.iter().map(|name| name.len()).collect() };
        for row in rows {
            columns.widen(row);
        }
        columns
    }

    /// The head as a line.
    pub(crate) fn head(&mut self, head: &[&str], look: Look) -> String {
        let cells: Vec<_> = head.iter().map(|name| Cell::new(Tone::Faint, name)).collect();
        self.line(&cells, look, 0)
    }

    /// A row as a line, or as several where a terminal is too narrow for the last column.
    pub(crate) fn line(&mut self, row: &[Cell], look: Look, indent: usize) -> String {
        self.widen(row);
        let Some((last, front)) = row.split_last() else { return String::new() };
        let mut line = " ".repeat(indent);
        let mut column = indent;
        for (cell, width) in front.iter().zip(&self.widths) {
            let padding = width - cell.width() + GAP;
            line += &look.paint(cell.tone, &cell.text);
            line += &" ".repeat(padding);
            column += width + GAP;
        }
        let room = look.width.map(|width| width.saturating_sub(column).max(NARROWEST));
        let parts = wrapped(&last.text, room);
        let parts: Vec<_> = parts.iter().map(|part| look.paint(last.tone, part)).collect();
        line += &parts.join(&format!("\n{}", " ".repeat(column)));
        line + "\n"
    }

    fn widen(&mut self, row: &[Cell]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
}

impl Table {
    /// An empty one.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Puts a row below the others.
    pub(crate) fn row(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Head and rows, each indented by so many blanks.
    pub(crate) fn text(&self, look: Look, indent: usize) -> String {
        let mut columns = Columns::fit(&self.head, &self.rows);
        let head: Vec<_> = self.head.iter().map(|name| Cell::new(Tone::Faint, name)).collect();
        let rows = std::iter::once(&head).chain(&self.rows);
        rows.map(|row| columns.line(row, look, indent)).collect()
    }
}

/// The text in lines of so many characters, broken at blanks where there are any.
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > width {
            lines.push(String::new());
            length = 0;
        }
        let Some(line) = lines.last_mut() else { break };
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word_length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: Option<usize>, colours: bool) -> Look {
        Look { width, colours, now: jiff::Timestamp::UNIX_EPOCH }
    }

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "READY", "MESSAGE"]);
        let words = "the image of this function cannot be pulled by any of the nodes";
        table.row(vec![Cell::plain("a"), Cell::new(Tone::Bad, "no"), Cell::plain(words)]);
        table.row(vec![Cell::plain("longer"), Cell::new(Tone::Good, "yes"), Cell::plain("")]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "NAME     READY   MESSAGE
a        no      the image of this function cannot be pulled by any of the nodes
longer   yes     -
";
        assert_eq!(table().text(look(None, false), 0), expected);
    }

    #[test]
    fn a_narrow_terminal_wraps_the_last_column() {
        let expected = "  NAME     READY   MESSAGE
  a        no      the image of this
                   function cannot be
                   pulled by any of the
                   nodes
  longer   yes     -
";
        assert_eq!(table().text(look(Some(43), false), 2), expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let plain = table().text(look(None, false), 0);
        let mut coloured = table().text(look(None, true), 0);
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"] {
            assert!(coloured.contains(code));
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, plain);
    }

    #[test]
    fn a_cell_is_one_line_that_no_terminal_obeys() {
        assert_eq!(Cell::plain("a\nb\x1b[2J"), Cell::plain("a b [2J"));
    }
}
