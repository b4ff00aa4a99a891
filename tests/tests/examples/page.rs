//! The fenced blocks of a page.

/// What a block is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// A file that the reader writes: `toml roommq.toml` after the fence.
    File { name: String, text: String },
    /// What a terminal shows: `console`, `console keep=NAME` or `console of=NAME`.
    Console {
        terminal: Terminal,
        lines: Vec<Line>,
    },
}

/// A terminal of a page.
#[derive(Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Each command runs to its end.
    Runs,
    /// The last command goes on, in a terminal of this name.
    Keeps(String),
    /// More of a terminal whose command goes on.
    Of(String),
}

/// A line of a terminal.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// `$ command`; a command whose line ends in a backslash goes on in the next.
    Command(String),
    /// `> text` in a terminal whose command goes on: the reader types it.
    Typed(String),
    /// `^C`: the reader ends the command.
    Interrupt,
    /// `(the terminal is closed)`.
    Closed,
    /// A line that the command writes. `…` is any text; alone in its line it is any number of lines.
    Output(String),
}

/// Languages whose blocks have to run or to be a file.
const CODE: [&str; 9] = [
    "sh", "shell", "bash", "js", "python", "html", "rust", "toml", "conf",
];

/// All blocks that run, in their order. A block without a language, or with `text` or `json`, only shows something.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let words: Vec<&str> = info.split_whitespace().collect();
        match words[..] {
            ["console"] => blocks.push(console(Terminal::Runs, &body)?),
            ["console", word] => blocks.push(console(terminal(word)?, &body)?),
            [language, name] if CODE.contains(&language) => blocks.push(Block::File {
                name: name.to_owned(),
                text: body.iter().flat_map(|line| [line, "\n"]).collect(),
            }),
            [language, ..] if CODE.contains(&language) => {
                return Err(format!("a block of {language} has no file's name"));
            }
            _ => {}
        }
    }
    Ok(blocks)
}

fn terminal(word: &str) -> Result<Terminal, String> {
    match word.split_once('=') {
        Some(("keep", name)) => Ok(Terminal::Keeps(name.to_owned())),
        Some(("of", name)) => Ok(Terminal::Of(name.to_owned())),
        _ => Err(format!("{word} says nothing about a console")),
    }
}

fn console(terminal: Terminal, body: &[&str]) -> Result<Block, String> {
    let mut lines = Vec::new();
    let mut rest = body.iter();
    while let Some(line) = rest.next() {
        lines.push(match *line {
            "^C" => Line::Interrupt,
            "(the terminal is closed)" => Line::Closed,
            line => {
                if let Some(command) = line.strip_prefix("$ ") {
                    let mut command = command.to_owned();
                    while command.ends_with('\\') {
                        command.pop();
                        command += rest.next().ok_or("a command has no last line")?;
                    }
                    Line::Command(command)
                } else if let (Some(typed), Terminal::Of(_)) = (line.strip_prefix("> "), &terminal)
                {
                    Line::Typed(typed.to_owned())
                } else {
                    Line::Output(line.to_owned())
                }
            }
        });
    }
    Ok(Block::Console { terminal, lines })
}

/// Whether a line is as a page shows it.
pub fn is_as_shown(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// How many of `lines` are as a page shows them, if all that it shows is there.
pub fn taken(shown: &[&str], lines: &[String]) -> Option<usize> {
    match shown {
        [] => Some(0),
        ["…", rest @ ..] => (0..=lines.len())
            .find_map(|skipped| taken(rest, &lines[skipped..]).map(|taken| skipped + taken)),
        [first, rest @ ..] => match lines {
            [line, more @ ..] if is_as_shown(first, line) => Some(1 + taken(rest, more)?),
            _ => None,
        },
    }
}

#[test]
fn a_page_is_cut_into_blocks() {
    let page = "text\n```console keep=a\n$ one \\\n  two\nout\n```\n```json\n{}\n```\n```toml a.toml\nx = 1\n```\n\
                ```console of=a\n> hi\n^C\n```\n";
    let Ok(blocks) = blocks(page) else { panic!() };
    let console = |terminal, lines| Block::Console { terminal, lines };
    assert_eq!(
        blocks,
        [
            console(
                Terminal::Keeps("a".into()),
                vec![
                    Line::Command("one   two".into()),
                    Line::Output("out".into())
                ]
            ),
            Block::File {
                name: "a.toml".into(),
                text: "x = 1\n".into()
            },
            console(
                Terminal::Of("a".into()),
                vec![Line::Typed("hi".into()), Line::Interrupt]
            ),
        ]
    );
}

#[test]
fn code_that_does_not_run_is_an_error() {
    assert!(blocks("```js\nx\n```\n").is_err());
    assert!(blocks("```console now\n```\n").is_err());
}

#[test]
fn dots_are_any_text() {
    assert!(is_as_shown("a…c", "abc") && is_as_shown("a…c…", "a, b, c, d") && is_as_shown("…", ""));
    assert!(!is_as_shown("a…c", "abcd") && !is_as_shown("a", "ab") && !is_as_shown("a…b", "b"));
    let lines: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(taken(&["a", "…", "c"], &lines), Some(3));
    assert_eq!(taken(&["a"], &lines), Some(1));
    assert_eq!(taken(&["…"], &lines), Some(0));
    assert_eq!(taken(&["a", "c"], &lines), None);
}
