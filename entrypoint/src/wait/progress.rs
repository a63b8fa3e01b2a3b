//! How waiting is shown: lines for a log, a block that is rewritten for a terminal, JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use super::plan::Plan;
use super::{Sight, TICK};
use crate::failure::{printable, quoted, say, seconds, write_stderr};
use crate::sys;

/// A line about the same target comes at most this often, but for the one that says that it is ready.
pub(super) const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What goes on is told to one of these. Targets are numbers, in the plan's order.
pub(super) trait Show {
    fn begin(&mut self);
    /// Comes at each change, and about once a second.
    fn news(&mut self, target: usize, sight: &Sight, at: Duration);
    /// Comes ten times a second while there is no news.
    fn tick(&mut self, at: Duration);
    /// Comes when everything is ready, and when the time is over.
    fn end(&mut self, seen: &[Sight], at: Duration);
}

/// What fits to where stderr goes.
pub(super) fn choose(plan: &Plan, json: bool) -> Box<dyn Show> {
    let names: Vec<String> = plan.items.iter().map(|item| printable(&item.target.to_string())).collect();
    if json {
        return Box::new(Json::new(names));
    }
    let terminal = sys::terminal_size().filter(|(rows, _)| names.len() < usize::from(*rows));
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    match terminal {
        Some(_) if !dumb => Box::new(Live::new(names)),
        _ => Box::new(Plain::new(names)),
    }
}

/// What was last seen of a target, and what was last said about it.
#[derive(Clone)]
struct Line {
    name: String,
    sight: Sight,
    /// When it was seen first, and for what is ready: for good.
    since: Duration,
    said: Option<Duration>,
    due: bool,
}

impl Line {
    fn all(names: Vec<String>) -> Vec<Self> {
        let line = |name| Self { name, sight: Sight::Nothing, since: Duration::ZERO, said: None, due: false };
        names.into_iter().map(line).collect()
    }

    /// Whether this is something new that may be said now; it is then taken for said.
    fn may_say(&mut self, at: Duration) -> bool {
        let soon = self.said.is_some_and(|said| at < said + AT_MOST_EVERY) && self.sight != Sight::Ready;
        let now = self.due && !soon;
        if now {
            self.due = false;
            self.said = Some(at);
        }
        now
    }

    fn see(&mut self, sight: &Sight, at: Duration) {
        if self.sight != *sight {
            self.sight = sight.clone();
            self.since = at;
            self.due = true;
        }
    }
}

/// A line at each change.
struct Plain(Vec<Line>);

impl Plain {
    fn new(names: Vec<String>) -> Self {
        Self(Line::all(names))
    }

    fn say(&mut self, at: Duration) {
        for line in &mut self.0 {
            if line.may_say(at) {
                say(&format!("  {}: {} ({} s)", line.name, line.sight.words(), seconds(line.since)));
            }
        }
    }
}

impl Show for Plain {
    fn begin(&mut self) {
        let names: Vec<&str> = self.0.iter().map(|line| &*line.name).collect();
        say(&format!("waiting for {}", names.join(", ")));
    }

    fn news(&mut self, target: usize, sight: &Sight, at: Duration) {
        self.0[target].see(sight, at);
        self.say(at);
    }

    fn tick(&mut self, at: Duration) {
        self.say(at);
    }

    fn end(&mut self, _: &[Sight], _: Duration) {}
}

/// A line for each target, rewritten in place. Between two frames the cursor is below the block, at the beginning of a
/// line and visible: whatever ends this process leaves the terminal as it should be.
struct Live {
    lines: Vec<Line>,
    widest: usize,
    drawn: Option<Duration>,
}

impl Live {
    fn new(names: Vec<String>) -> Self {
        let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { lines: Line::all(names), widest, drawn: None }
    }

    fn draw(&mut self, at: Duration) {
        let width = sys::terminal_size().map_or(80, |(_, columns)| usize::from(columns));
        let mut frame = String::new();
        if self.drawn.is_some() {
            let _ = write!(frame, "\x1b[{}A", self.lines.len());
        }
        for line in &self.lines {
            let time = if line.sight == Sight::Ready { line.since } else { at };
            let words = printable(line.sight.words());
            let text = format!("  {:widest$}  {:>6} s  {words}", line.name, seconds(time), widest = self.widest);
            // A character in the last column would make some terminals begin a new line.
            let cut: String = text.chars().take(width.saturating_sub(1)).collect();
            let _ = write!(frame, "\r\x1b[2K{cut}\n");
        }
        write_stderr(&frame);
        self.drawn = Some(at);
    }
}

impl Show for Live {
    fn begin(&mut self) {
        say("waiting for:");
    }

    fn news(&mut self, target: usize, sight: &Sight, at: Duration) {
        self.lines[target].see(sight, at);
        self.tick(at);
    }

    fn tick(&mut self, at: Duration) {
        if self.drawn.is_none_or(|drawn| at >= drawn + TICK) {
            self.draw(at);
        }
    }

    fn end(&mut self, seen: &[Sight], at: Duration) {
        for (line, sight) in self.lines.iter_mut().zip(seen) {
            line.see(sight, at);
        }
        self.draw(at);
    }
}

/// A line of JSON at each change.
struct Json(Vec<Line>);

impl Json {
    fn new(names: Vec<String>) -> Self {
        Self(Line::all(names))
    }

    fn say(&mut self, at: Duration) {
        for line in &mut self.0 {
            if line.may_say(at) {
                let event = if line.sight == Sight::Ready { "ready" } else { "waiting" };
                json(event, line, line.since);
            }
        }
    }
}

impl Show for Json {
    fn begin(&mut self) {
        for line in &self.0 {
            json("begin", line, Duration::ZERO);
        }
    }

    fn news(&mut self, target: usize, sight: &Sight, at: Duration) {
        self.0[target].see(sight, at);
        self.say(at);
    }

    fn tick(&mut self, at: Duration) {
        self.say(at);
    }

    fn end(&mut self, seen: &[Sight], at: Duration) {
        for (line, sight) in self.0.iter_mut().zip(seen) {
            if *sight != Sight::Ready {
                line.see(sight, at);
                json("timeout", line, at);
            }
        }
    }
}

fn json(event: &str, line: &Line, at: Duration) {
    let (name, detail, state) = (quoted(&line.name), quoted(line.sight.words()), line.sight.state());
    let elapsed = at.as_millis();
    write_stderr(&format!(
        "{{\"event\":\"{event}\",\"dependency\":{name},\"state\":\"{state}\",\"detail\":{detail},\"elapsed_ms\":{elapsed}}}\n"
    ));
}

#[cfg(test)]
mod tests;
