//! The examples in the documents: each fenced block of a guide runs against a real server, and its output is compared
//! with what the page shows. `docs/examples/README.md` says how a page is written.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod page;
mod stage;

use page::{Block, blocks};
use roommq_tests::program::roommq;
use roommq_tests::workspace::{files, has_extension, root};
use stage::Stage;
use std::collections::BTreeMap;

/// Runs the blocks of a page in their order.
fn play(page: &str) {
    let text = std::fs::read_to_string(root().join(page)).expect(page);
    let mut stage = Stage::new(page);
    for block in blocks(&text).unwrap_or_else(|error| panic!("{page}: {error}")) {
        stage.play(&block);
    }
}

/// A test for each page, and the list of them.
macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $test() {
                play($page);
            }
        )*
    };
}

pages! {
    the_readme_runs: "README.md",
    the_first_room_runs: "docs/guide/first-room.md",
    the_browser_chat_runs: "docs/guide/browser.md",
    the_devices_run: "docs/guide/devices.md",
    the_users_run: "docs/guide/users.md",
    the_page_on_tokens_runs: "docs/guide/tokens.md",
    the_tls_page_runs: "docs/guide/tls.md",
    the_messages_while_away_run: "docs/guide/offline.md",
    the_guide_from_flask_socketio_runs: "docs/guide/from-flask-socketio.md",
    the_guide_from_mosquitto_runs: "docs/guide/from-mosquitto.md",
    the_page_on_topics_runs: "docs/reference/topics.md",
    the_page_on_limits_runs: "docs/reference/limits.md",
    the_page_on_presence_runs: "docs/reference/presence.md",
    the_page_on_errors_runs: "docs/reference/errors.md",
    the_transcript_runs: "docs/reference/transcript.md",
    the_configuration_page_runs: "docs/reference/configuration.md",
    the_command_line_runs: "docs/reference/command-line.md",
    the_page_on_sys_runs: "docs/reference/sys.md",
    the_page_on_the_service_runs: "docs/operate/service.md",
    the_page_on_public_servers_runs: "docs/operate/public-server.md",
    the_page_on_monitoring_runs: "docs/operate/monitoring.md",
    the_page_on_log_lines_runs: "docs/operate/log-lines.md",
}

/// Pages for users: each block of a language runs, and none hides from that by its indentation.
#[test]
fn no_example_of_a_page_is_left_out() {
    let folders = ["docs/guide/", "docs/reference/", "docs/operate/"];
    let mut wrong = Vec::new();
    for file in files() {
        let is_page = folders.iter().any(|folder| file.path.starts_with(folder))
            || ["README.md", "docs/mqtt.md"].contains(&file.path.as_str());
        if !is_page || !has_extension(&file.path, "md") {
            continue;
        }
        let page = &file.path;
        let runs = PAGES.contains(&page.as_str());
        match blocks(&file.text) {
            Ok(all) if runs => {
                let console = |block: &Block| matches!(block, Block::Console { .. });
                if !all.iter().any(console) {
                    wrong.push(format!("{page}: nothing runs"));
                }
            }
            Ok(all) if all.is_empty() => {
                if page.starts_with("docs/guide/") && !page.ends_with("/README.md") {
                    wrong.push(format!("{page}: a guide without examples"));
                }
            }
            Ok(_) => wrong.push(format!("{page}: its examples do not run")),
            Err(error) => wrong.push(format!("{page}: {error}")),
        }
        if page.starts_with("docs/") {
            let hidden = hidden_code(&file.text);
            wrong.extend(hidden.map(|line| format!("{page}: {line:?} is in no fence")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of code that are indented and not fenced, each with an empty line before it.
fn hidden_code(text: &str) -> impl Iterator<Item = &str> {
    let (mut fenced, mut empty) = (false, true);
    text.lines().filter(move |line| {
        fenced ^= line.starts_with("```");
        let hidden = !fenced && empty && line.starts_with("    ");
        empty = line.is_empty();
        hidden
    })
}

#[test]
fn code_without_a_fence_is_found() {
    let page = "a\n\n    code\n- list\n    more of it\n```json\n\n    {}\n```\n";
    assert_eq!(hidden_code(page).collect::<Vec<_>>(), ["    code"]);
}

/// What `--help` says of a command.
fn help(command: &[&str]) -> String {
    let output = roommq().args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names that a help text lists as commands.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The options in a text.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || ",[]`()|".contains(c));
    let names = words.map(|word| word.split('=').next().unwrap_or_default());
    names.filter(|word| word.starts_with("--") && word.len() > 2)
}

/// Each command and each of its options is in the reference.
#[test]
fn the_command_line_lists_every_option() {
    let page = std::fs::read_to_string(root().join("docs/reference/command-line.md")).unwrap();
    let commands = subcommands(&help(&[]));
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`roommq {command}")), "{command}");
        if command == "bench" {
            // The page leaves these options to the command's own help.
            continue;
        }
        for option in options(&help(&[&command])) {
            let listed = page.contains(&format!("`{option}"));
            assert!(listed, "roommq {command} {option} is not in the page");
        }
    }
}

/// Commands in sentences, tables and indented lines do not run, but their options exist.
#[test]
fn options_that_pages_name_exist() {
    let commands = subcommands(&help(&[]));
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for command in commands {
        let mut text = help(&[&command]);
        for inner in subcommands(&text) {
            text += &help(&[&command, &inner]);
        }
        known.insert(command, text);
    }
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in files() {
        if !has_extension(&file.path, "md") || file.path == "CHANGELOG.md" {
            continue;
        }
        for line in file.text.lines() {
            for rest in line.split("roommq ").skip(1) {
                let words = rest.split(['`', '#', '|', ';']).next().unwrap_or_default();
                let command = words.split_whitespace().next().unwrap_or_default();
                let Some(help) = known.get(command) else {
                    continue;
                };
                for option in options(words) {
                    seen += 1;
                    if !options(help).any(|known| known == option) {
                        wrong.push(format!("{}: roommq {command} {option}", file.path));
                    }
                }
            }
        }
    }
    assert!(seen > 30, "only {seen} options");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
