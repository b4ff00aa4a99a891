//! Draws the full-screen client.
//!
//! ```text
//!  lobby  dev (3)                       <- a tab for each room, with its unread messages
//! 12:03:04 alice: hello      | HERE 2   <- the newest lines, and the roster
//! * bob joined               | alice
//!                            | bob
//! me on 127.0.0.1:1883                  <- the connection, or a hint
//! lobby> the line that is typed
//! ```

use super::state::{Chat, ChatLink, Tab};
use crate::room_view::{LineKind, RoomLine};
use crate::shown;
use jiff::{Timestamp, tz::TimeZone};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Columns of the roster with its border.
const ROSTER_WIDTH: u16 = 22;
/// A narrower terminal shows no roster.
const WIDTH_WITH_ROSTER: u16 = 60;
/// Columns that later rows of a line are moved to the right by.
const INDENT: &str = "         ";
/// The colours of names. They are readable on black and on white.
const NAMES: [Color; 6] = [
    Color::Blue,
    Color::Green,
    Color::Magenta,
    Color::Cyan,
    Color::Yellow,
    Color::LightBlue,
];

/// Colours, or none (`NO_COLOR`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    pub colours: bool,
}

impl Palette {
    fn colour(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// The style of a user's name, the same wherever it is shown.
    fn name(self, user: &str) -> Style {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % 64).unwrap_or(0) % NAMES.len();
        let colour = NAMES.get(number).copied().unwrap_or(Color::Blue);
        self.colour(colour).add_modifier(Modifier::BOLD)
    }

    fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, chat: &Chat, palette: Palette) {
    let [tabs, middle, status, input] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_tabs(frame, tabs, chat, palette);
    if let Some(tab) = chat.tab() {
        let wide = frame.area().width >= WIDTH_WITH_ROSTER;
        let roster_width = if wide { ROSTER_WIDTH } else { 0 };
        let [lines, roster] =
            Layout::horizontal([Constraint::Min(1), Constraint::Length(roster_width)])
                .areas(middle);
        let rows = rows(tab, &chat.zone, lines, palette);
        frame.render_widget(Paragraph::new(rows), lines);
        if wide {
            draw_roster(frame, roster, tab, palette);
        }
        draw_input(frame, input, chat, tab, palette);
    }
    draw_status(frame, status, chat, palette);
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, chat: &Chat, palette: Palette) {
    let spans = chat.tabs.iter().enumerate().map(|(index, tab)| {
        let unread = match tab.unread {
            0 => String::new(),
            n => format!(" ({n})"),
        };
        let style = if index == chat.active {
            Style::new().add_modifier(Modifier::REVERSED)
        } else if tab.unread > 0 {
            palette.colour(Color::Yellow).add_modifier(Modifier::BOLD)
        } else {
            Palette::dim()
        };
        Span::styled(format!(" {}{unread} ", tab.room), style)
    });
    frame.render_widget(spans.collect::<Line<'_>>(), area);
}

fn draw_roster(frame: &mut Frame<'_>, area: Rect, tab: &Tab, palette: Palette) {
    let count = tab.view.roster().count();
    let block = Block::new()
        .borders(Borders::LEFT)
        .border_style(Palette::dim());
    let inside = usize::from(block.inner(area).height.saturating_sub(1));
    let title = if tab.joined {
        format!(" HERE {count}")
    } else {
        " NOT IN THE ROOM".to_owned()
    };
    let title = Line::styled(title, Palette::dim());
    let user = |(user, state): (&str, &str)| {
        let user_name = shown::line(user).into_owned();
        let mut spans = vec![Span::raw(" ")];
        if state == "online" {
            spans.push(Span::styled(user_name, palette.name(user)));
        } else {
            let text = format!("{user_name} ({})", shown::line(state));
            spans.push(Span::styled(text, Palette::dim()));
        }
        Line::from(spans)
    };
    let mut lines = vec![title];
    if count > inside {
        let first = inside.saturating_sub(1);
        lines.extend(tab.view.roster().take(first).map(user));
        lines.push(Line::styled(
            format!(" and {} more", count - first),
            Palette::dim(),
        ));
    } else {
        lines.extend(tab.view.roster().map(user));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_status(frame: &mut Frame<'_>, area: Rect, chat: &Chat, palette: Palette) {
    let error = palette.colour(Color::Red).add_modifier(Modifier::BOLD);
    let scrolled = chat.tab().map_or(0, |tab| tab.scrolled);
    let line = match (&chat.hint, &chat.link) {
        (Some(hint), _) => Line::styled(hint.as_str(), palette.colour(Color::Yellow)),
        (None, ChatLink::Connecting) => Line::styled("connecting ...", error),
        (None, ChatLink::Down { why, seconds }) => {
            Line::styled(format!("again in {seconds} s, Enter: now; {why}"), error)
        }
        (None, ChatLink::Up) if scrolled > 0 => Line::styled(
            format!("{scrolled} newer lines below; PageDown"),
            palette.colour(Color::Yellow),
        ),
        (None, ChatLink::Up) => Line::styled(
            format!("{} on {}  /help", shown::line(&chat.me), chat.server),
            Palette::dim(),
        ),
    };
    frame.render_widget(line, area);
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, chat: &Chat, tab: &Tab, palette: Palette) {
    let prompt = format!("{}> ", tab.room);
    let prompt_width = u16::try_from(prompt.len())
        .unwrap_or(area.width)
        .min(area.width);
    let [before, typed] =
        Layout::horizontal([Constraint::Length(prompt_width), Constraint::Min(1)]).areas(area);
    frame.render_widget(Line::styled(prompt, palette.colour(Color::Green)), before);
    // One column is for the cursor at the end.
    let width = usize::from(typed.width.saturating_sub(1));
    let scroll = chat.input.visual_scroll(width);
    let offset = u16::try_from(scroll).unwrap_or(0);
    frame.render_widget(
        Paragraph::new(chat.input.value()).scroll((0, offset)),
        typed,
    );
    let column = chat.input.visual_cursor().saturating_sub(scroll);
    let column = u16::try_from(column).unwrap_or(0).min(typed.width);
    frame.set_cursor_position(Position::new(typed.x.saturating_add(column), typed.y));
}

/// The rows of the newest lines that fit, the newest at the bottom.
fn rows<'a>(tab: &'a Tab, zone: &TimeZone, area: Rect, palette: Palette) -> Vec<Line<'a>> {
    let height = usize::from(area.height);
    let width = usize::from(area.width).max(1);
    let shown = tab.lines.len().saturating_sub(tab.scrolled);
    // From the newest line up, so each line's rows are added last first.
    let mut rows: Vec<Line<'a>> = Vec::with_capacity(height + 4);
    for index in (0..shown).rev() {
        let Some(line) = tab.lines.get(index) else {
            break;
        };
        rows.extend(line_rows(line, zone, width, palette).into_iter().rev());
        let below = tab.lines.len() - index;
        if tab.seen_above == Some(below) {
            rows.push(rule("new", width, palette.colour(Color::Yellow)));
        }
        let day = date(line, zone);
        let before = index
            .checked_sub(1)
            .and_then(|before| tab.lines.get(before));
        if before.is_none_or(|before| date(before, zone) != day) {
            rows.push(rule(&day, width, Palette::dim()));
        }
        if rows.len() >= height {
            break;
        }
    }
    rows.truncate(height);
    let blank = height.saturating_sub(rows.len());
    rows.extend(std::iter::repeat_n(Line::default(), blank));
    rows.reverse();
    rows
}

/// `── 2026-12-01 ─────`
fn rule<'a>(text: &str, width: usize, style: Style) -> Line<'a> {
    let filled = width.saturating_sub(text.len() + 4);
    Line::styled(format!("── {text} {}", "─".repeat(filled)), style)
}

/// The local date of a line.
fn date(line: &RoomLine, zone: &TimeZone) -> String {
    match line.at.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string(),
        Err(_) => String::new(),
    }
}

/// One line as rows of at most `width` columns.
fn line_rows<'a>(
    line: &RoomLine,
    zone: &TimeZone,
    width: usize,
    palette: Palette,
) -> Vec<Line<'a>> {
    let clock = shown::clock(&line.at, zone) + " ";
    let below = line.below.as_ref().map(|below| format!(" [{below}]"));
    let text = match line.kind {
        LineKind::Notice => Palette::dim(),
        LineKind::Error => palette.colour(Color::Red),
        LineKind::Message | LineKind::Private => Style::new(),
    };
    // The parts that come before the text, each with its style.
    let mut head = vec![(clock, Palette::dim())];
    if line.retained {
        head.push(("(retained) ".to_owned(), Palette::dim()));
    }
    match (line.kind, &line.speaker) {
        (LineKind::Notice, _) => head.push(("* ".to_owned(), text)),
        (LineKind::Error, _) => head.push(("! ".to_owned(), text)),
        (kind, speaker) => {
            let speaker = speaker.as_deref().unwrap_or("?");
            head.push((speaker.to_owned(), palette.name(speaker)));
            head.extend(below.map(|below| (below, Palette::dim())));
            let end = if kind == LineKind::Private {
                " (to you): "
            } else {
                ": "
            };
            head.push((end.to_owned(), Style::new()));
        }
    }
    let whole: String = head
        .iter()
        .map(|(part, _)| part.as_str())
        .collect::<String>()
        + &line.text;
    let options = textwrap::Options::new(width).subsequent_indent(if width > 2 * INDENT.len() {
        INDENT
    } else {
        ""
    });
    let wrapped = textwrap::wrap(&whole, options);
    let mut wrapped = wrapped.iter();
    let Some(first) = wrapped.next() else {
        return Vec::new();
    };
    let mut rest: &str = first;
    let mut spans = Vec::with_capacity(head.len() + 1);
    for (part, style) in head {
        // A narrow terminal breaks the line within its head.
        let Some(after) = rest.strip_prefix(part.as_str()) else {
            break;
        };
        rest = after;
        spans.push(Span::styled(part, style));
    }
    spans.push(Span::styled(rest.to_owned(), text));
    let mut rows = vec![Line::from(spans)];
    rows.extend(wrapped.map(|row| Line::styled(row.clone().into_owned(), text)));
    rows
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
