//! The examples in the documents: each fenced block of a guide runs against a real server, and its output is compared
//! with what the page shows. `docs/examples/README.md` says how a page is written.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod page;
mod stage;

use page::{Block, blocks};
use roommq_tests::workspace::{files, has_extension, root};
use stage::Stage;

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
    the_tls_page_runs: "docs/guide/tls.md",
    the_messages_while_away_run: "docs/guide/offline.md",
    the_guide_from_flask_socketio_runs: "docs/guide/from-flask-socketio.md",
    the_guide_from_mosquitto_runs: "docs/guide/from-mosquitto.md",
}

#[test]
fn every_guide_runs() {
    for file in files() {
        let runs = file.path.starts_with("docs/guide/")
            && has_extension(&file.path, "md")
            && !file.path.ends_with("/README.md");
        assert!(
            !runs || PAGES.contains(&file.path.as_str()),
            "{} does not run",
            file.path
        );
    }
}

/// Code that a reader might paste runs: each block of a language has a file's name or is a console.
#[test]
fn no_code_of_a_guide_is_left_out() {
    for page in PAGES {
        let text = std::fs::read_to_string(root().join(page)).expect(page);
        let all = blocks(&text).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(
            all.iter()
                .any(|block| matches!(block, Block::Console { .. })),
            "{page}: nothing runs"
        );
    }
}
