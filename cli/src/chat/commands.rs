//! What a person types in the full-screen client: commands and their completion.

use roommq_bridge::topics;

/// A command, as `/help` shows it.
pub(crate) struct CommandHelp {
    /// With the slash.
    pub name: &'static str,
    pub arguments: &'static str,
    pub help: &'static str,
}

/// All commands, in the order of `/help`.
pub(crate) const COMMANDS: [CommandHelp; 7] = [
    help("/join", "ROOM", "join another room, in a tab of its own"),
    help("/leave", "[ROOM]", "leave this room, or the named one"),
    help("/msg", "USER TEXT", "send a message to one user alone"),
    help("/who", "", "show who is in this room"),
    help("/clear", "", "empty this tab"),
    help("/help", "", "show the commands"),
    help("/quit", "", "leave all rooms and end"),
];

const fn help(name: &'static str, arguments: &'static str, help: &'static str) -> CommandHelp {
    CommandHelp {
        name,
        arguments,
        help,
    }
}

/// The meaning of a typed line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    Nothing,
    /// A message to the room of the tab.
    Text(&'a str),
    Join(&'a str),
    /// None: the room of the tab.
    Leave(Option<&'a str>),
    Private {
        user: &'a str,
        text: &'a str,
    },
    Who,
    Clear,
    Help,
    Quit,
}

/// The meaning of a line. `//text` is the text `/text`.
///
/// # Errors
/// No such command, or a wrong argument: what is wrong and what would be right.
pub(crate) fn typed(line: &str) -> Result<Typed<'_>, String> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(Typed::Nothing);
    }
    if !trimmed.starts_with('/') {
        return Ok(Typed::Text(line));
    }
    if let Some(text) = trimmed.strip_prefix("//") {
        // One slash of the two stays.
        return Ok(Typed::Text(trimmed.get(1..).unwrap_or(text)));
    }
    let (name, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
    let rest = rest.trim();
    match (name, rest) {
        ("/join", room) => room_argument(room).map(Typed::Join),
        ("/leave", "") => Ok(Typed::Leave(None)),
        ("/leave", room) => room_argument(room).map(|room| Typed::Leave(Some(room))),
        ("/msg", rest) => match rest.split_once(' ') {
            Some((user, text)) if !user.contains(['/', '+', '#']) => Ok(Typed::Private {
                user,
                text: text.trim_start(),
            }),
            Some((user, _)) => Err(format!(
                "{user} is no user's name: write it as /who shows it"
            )),
            None => Err("write /msg USER TEXT".to_owned()),
        },
        ("/who", "") => Ok(Typed::Who),
        ("/clear", "") => Ok(Typed::Clear),
        ("/help", _) => Ok(Typed::Help),
        ("/quit", "") => Ok(Typed::Quit),
        _ if COMMANDS.iter().any(|command| command.name == name) => {
            Err(format!("{name} takes no argument"))
        }
        _ => Err(unknown(name)),
    }
}

fn room_argument(room: &str) -> Result<&str, String> {
    topics::room_name(room).map_err(|error| error.to_string())
}

fn unknown(name: &str) -> String {
    let nearest = COMMANDS
        .iter()
        .map(|command| {
            (
                strsim::damerau_levenshtein(command.name, name),
                command.name,
            )
        })
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 2 => {
            format!("there is no command {name}: is it {nearest}?")
        }
        _ => format!(
            "there is no command {name}; /help shows all. A line that begins with // is sent with one /"
        ),
    }
}

/// What Tab makes of the text before the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    Nothing,
    /// The text before the cursor becomes this.
    Becomes(String),
    /// Several words fit. The text before the cursor becomes the first part, which all of them
    /// share.
    Several(String, Vec<String>),
}

/// Completes the word before the cursor: a command at the beginning of a line, else a user.
pub(crate) fn complete<'a>(before: &str, users: impl Iterator<Item = &'a str>) -> Completion {
    let start = before.rfind(' ').map_or(0, |space| space + 1);
    let (head, word) = before.split_at(start);
    if word.is_empty() {
        return Completion::Nothing;
    }
    let is_command = head.is_empty() && word.starts_with('/');
    let mut found: Vec<String> = if is_command {
        let names = COMMANDS.iter().map(|command| command.name);
        names
            .filter(|name| name.starts_with(word))
            .map(str::to_owned)
            .collect()
    } else {
        users
            .filter(|user| user.starts_with(word))
            .map(str::to_owned)
            .collect()
    };
    match found.as_slice() {
        [] => Completion::Nothing,
        [only] => {
            // A line that begins with a name speaks to its owner.
            let end = if head.is_empty() && !is_command {
                ": "
            } else {
                " "
            };
            Completion::Becomes([head, only, end].concat())
        }
        [first, rest @ ..] => {
            let shared = rest.iter().fold(first.as_str(), |shared, next| {
                let same = shared.chars().zip(next.chars()).take_while(|(a, b)| a == b);
                let bytes = same.map(|(c, _)| c.len_utf8()).sum();
                shared.get(..bytes).unwrap_or(shared)
            });
            let shared = [head, shared].concat();
            found.sort();
            Completion::Several(shared, found)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn lines_and_their_meanings() {
        for (line, meaning) in [
            ("", Typed::Nothing),
            ("  ", Typed::Nothing),
            (" hello /who", Typed::Text(" hello /who")),
            ("//etc is text", Typed::Text("/etc is text")),
            ("/join dev", Typed::Join("dev")),
            ("/leave", Typed::Leave(None)),
            ("/leave dev ", Typed::Leave(Some("dev"))),
            ("/who ", Typed::Who),
            ("/quit", Typed::Quit),
            ("/help /msg", Typed::Help),
            (
                "/msg bob  hi there",
                Typed::Private {
                    user: "bob",
                    text: "hi there",
                },
            ),
        ] {
            assert_eq!(typed(line).as_ref(), Ok(&meaning), "{line:?}");
        }
    }

    #[test]
    fn a_wrong_line_says_what_would_be_right() {
        for (line, part) in [
            ("/qiut", "is it /quit?"),
            ("/frobnicate", "/help shows all"),
            ("/", "/help shows all"),
            ("/who bob", "takes no argument"),
            ("/msg bob", "/msg USER TEXT"),
            ("/msg a/b hi", "no user's name"),
            ("/join a/b", "room"),
            ("/join", "room"),
        ] {
            let said = typed(line).unwrap_err();
            assert!(said.contains(part), "{line:?}: {said}");
        }
    }

    #[test]
    fn tab_completes_commands_and_names() {
        let users = ["alice", "alfred", "bob", "~cli-1"];
        let complete = |before| complete(before, users.into_iter());
        let becomes = |text: &str| Completion::Becomes(text.to_owned());
        let several = |text: &str, all: &[&str]| {
            let all = all.iter().map(|name| (*name).to_owned());
            Completion::Several(text.to_owned(), all.collect())
        };
        assert_eq!(complete("/q"), becomes("/quit "));
        assert_eq!(
            complete("/"),
            several(
                "/",
                &[
                    "/clear", "/help", "/join", "/leave", "/msg", "/quit", "/who",
                ]
            )
        );
        assert_eq!(complete("b"), becomes("bob: "));
        assert_eq!(complete("ask b"), becomes("ask bob "));
        assert_eq!(
            complete("/msg al"),
            several("/msg al", &["alfred", "alice"])
        );
        assert_eq!(complete("/msg ali"), becomes("/msg alice "));
        assert_eq!(complete("x"), Completion::Nothing);
        assert_eq!(complete("bob "), Completion::Nothing);
    }
}
