//! What a person sees and a pipe does not.

use super::fake::FakeTerminal;
use super::*;

struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn progress_is_redrawn_for_a_person_and_told_line_by_line_elsewhere() {
    let told = |mut fake: FakeTerminal| {
        fake.terminal.progress("starting 1 pod");
        fake.terminal.progress("starting 1 pod");
        fake.terminal.progress("proving");
        fake.terminal.note("done");
        fake.err.take()
    };
    assert_eq!(told(FakeTerminal::piped()), "starting 1 pod\nproving\ndone\n");
    let redrawn = format!("{REDRAW}starting 1 pod{REDRAW}proving{REDRAW}done\n");
    assert_eq!(told(FakeTerminal::of_person(80, "")), redrawn);
}

#[test]
fn colours_are_for_a_person() {
    let painted = |fake: FakeTerminal| fake.terminal.look().paint(Tone::Bad, "no");
    assert_eq!(painted(FakeTerminal::piped()), "no");
    assert_eq!(painted(FakeTerminal::of_person(80, "")), "\x1b[31mno\x1b[0m");
}

#[test]
fn everything_but_a_yes_is_a_no() {
    for (types, yes) in [("y\n", true), ("Yes\n", true), ("n\n", false), ("\n", false), ("", false)] {
        let mut fake = FakeTerminal::of_person(80, types);
        assert_eq!(fake.terminal.confirm("Delete it?"), yes, "{types:?}");
        assert_eq!(fake.err.take(), "Delete it? [y/N] ");
    }
}

#[test]
fn a_closed_pipe_is_a_good_end_and_a_full_disk_is_none() {
    for (kind, exit) in [(io::ErrorKind::BrokenPipe, Exit::Done), (io::ErrorKind::StorageFull, Exit::Failed)]
    {
        let mut terminal = Terminal { out: Box::new(Broken(kind)), ..FakeTerminal::piped().terminal };
        assert_eq!(terminal.write("hello").unwrap_err().exit(), exit);
    }
}

#[test]
fn progress_is_one_line_that_can_be_redrawn() {
    let told = |mut fake: FakeTerminal| {
        fake.terminal.progress("waiting\nfor \x1b[2Jtoo long a time");
        fake.err.take()
    };
    assert_eq!(told(FakeTerminal::of_person(18, "")), format!("{REDRAW}waiting for  [2Jt"));
    assert_eq!(told(FakeTerminal::piped()), "waiting for  [2Jtoo long a time\n");
}
