//! `roommq token`: makes tokens, and keys that sign them.

use anyhow::{Context, bail};
use clap::Args;
use roommq_bridge::topics::{self, BadUserName};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `roommq token`
#[derive(Debug, Args)]
#[command(after_help = "The token goes to stdout. A client sends it as its password.")]
pub(crate) struct TokenArgs {
    /// The key: a JWK Set or JWK with a secret, or a private key as PEM
    pub key: PathBuf,
    /// The user (`sub`)
    #[arg(value_parser = user, required_unless_present = "new_key")]
    pub user: Option<String>,
    /// Make the key file, with a new secret for HS256, instead of a token
    #[arg(long, conflicts_with_all = ["user", "for_time", "room", "read", "publish", "subscribe", "only", "issuer", "audience"])]
    pub new_key: bool,
    /// How long the token is valid: 30m, 12h, 7days
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub for_time: Duration,
    /// Let the user join this room, or the rooms that a pattern with * and ? matches; again for more
    #[arg(long, value_name = "ROOM")]
    pub room: Vec<String>,
    /// The same, without publishing
    #[arg(long, value_name = "ROOM")]
    pub read: Vec<String>,
    /// Let the user publish to topics outside rooms that this filter matches; again for more
    #[arg(long, value_name = "FILTER")]
    pub publish: Vec<String>,
    /// Let the user subscribe to topics outside rooms that this filter matches; again for more
    #[arg(long, value_name = "FILTER")]
    pub subscribe: Vec<String>,
    /// Let the user do nothing else
    #[arg(long)]
    pub only: bool,
    /// The issuer (`iss`), for a server with `jwt.issuer`
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// The audience (`aud`), for a server with `jwt.audience`
    #[arg(long, value_name = "NAME")]
    pub audience: Option<String>,
}

pub(crate) fn run(args: &TokenArgs, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    match &args.user {
        None => new_key(&args.key, json, out)?,
        Some(user) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.context("the clock of this machine is before 1970")?;
            let claims = claims(args, user, now.as_secs())?;
            let token = roommq_bridge::sign_token(&args.key, &claims)?;
            if json {
                writeln!(out, "{}", json!({"token": token, "claims": claims}))?;
            } else {
                writeln!(out, "{token}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Writes a key file that only its owner can read. Replaces none.
fn new_key(path: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let key = roommq_bridge::new_token_key()?;
    let shown = path.display();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("{shown} cannot be made"))?;
    writeln!(file, "{key:#}").with_context(|| format!("{shown} cannot be written"))?;
    file.sync_all()?;
    if json {
        writeln!(out, "{}", json!({"file": path.to_string_lossy()}))?;
    } else {
        writeln!(out, "{shown} has a new key; name it as `jwt.keys`")?;
    }
    Ok(())
}

fn claims(args: &TokenArgs, user: &str, now: u64) -> anyhow::Result<Value> {
    let seconds = args.for_time.as_secs();
    if seconds == 0 {
        bail!("--for is shorter than a second: the token would have expired");
    }
    let exp = now.checked_add(seconds).context("--for is too long")?;
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), user.into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), exp.into());
    let texts = [("iss", &args.issuer), ("aud", &args.audience)];
    for (name, text) in texts {
        if let Some(text) = text {
            claims.insert(name.to_owned(), text.as_str().into());
        }
    }
    let member = args.room.iter().map(|room| (room, json!("member")));
    let reader = args.read.iter().map(|room| {
        let grant = json!({"role": "member", "publish": false});
        (room, grant)
    });
    let rooms: Map<String, Value> = member
        .chain(reader)
        .map(|(room, grant)| (room.clone(), grant))
        .collect();
    if !rooms.is_empty() {
        claims.insert("rooms".to_owned(), rooms.into());
    }
    let rule = |action: &'static str| move |topic: &String| json!({"permission": "allow", "action": action, "topic": topic});
    let publish = args.publish.iter().map(rule("publish"));
    let acl: Vec<Value> = publish
        .chain(args.subscribe.iter().map(rule("subscribe")))
        .collect();
    if !acl.is_empty() {
        claims.insert("acl".to_owned(), acl.into());
    }
    if args.only {
        claims.insert("only".to_owned(), true.into());
    }
    Ok(claims.into())
}

fn user(text: &str) -> Result<String, BadUserName> {
    topics::user_name(text).map(str::to_owned)
}
