//! The users file. `roommq passwd` writes it; the server reads it at start.
//!
//! It is TOML:
//!
//! ```toml
//! decoy_key = "<32 bytes in base64>"
//! [users]
//! alice = "<argon2 PHC string, or a hash of mosquitto>"
//! [scram]
//! alice = "SCRAM-SHA-256$…"
//! ```
//!
//! `[users]` is for logins by password, `[scram]` for logins by SCRAM-SHA-256. A user may be in one
//! of them only. From `decoy_key` the server makes SCRAM challenges for names that are not in the
//! file, so that a client cannot tell them from users.

use crate::locked_file::LockedFile;
use crate::mosquitto_hash::MosquittoHash;
use crate::random::random_bytes;
use crate::scram::{self, DecoyKey, Verifier};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use base64ct::{Base64, Encoding as _};
use parking_lot::Mutex;
use roommq_rooms::topics;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most bytes of a password in a CONNECT (3.1.3.6).
const PASSWORD_BYTES: usize = 65_535;

/// The hash of a password that nobody has, as costly as those of [`set_password`].
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    OAceYRupRkaAxcmatF8PSA$44lfKmTK24y30CsXpNmqtOwDEFQcJSJ7WywhZjygV8w";

const HEADER: &str = "\
# Users of RoomMQ. Written by `roommq passwd`, which keeps the entries but no comments.\n\n";

/// Users, and what is stored of their passwords.
#[derive(Clone, Default)]
pub struct Users {
    hashes: HashMap<String, StoredHash>,
    verifiers: HashMap<String, Verifier>,
    decoy: Option<DecoyKey>,
    /// The file, to replace hashes of mosquitto in. Empty: there is none.
    file: PathBuf,
    /// Users whose hash was replaced, or could not be: it is tried once.
    replaced: Arc<Mutex<HashSet<String>>>,
}

/// A hash in a users file.
#[derive(Clone, PartialEq)]
enum StoredHash {
    /// Made by `roommq passwd`, and by mosquitto from 2.1 on.
    Argon2(Box<PasswordHash>),
    /// Made by older versions of mosquitto.
    Mosquitto(MosquittoHash),
}

impl StoredHash {
    /// None: the text is no usable hash.
    fn read(text: &str) -> Option<StoredHash> {
        let argon2 = PasswordHash::new(text).ok().filter(is_usable);
        argon2
            .map(|hash| StoredHash::Argon2(Box::new(hash)))
            .or_else(|| text.parse().ok().map(StoredHash::Mosquitto))
    }
}

/// A problem with a users file, or with a password to write to it.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot read the users file {}: {source}; {}", path.display(), read_hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the users file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It does not have the form of a users file.
    #[error("{}, line {line}: {what}; a users file has the tables [users] and [scram], with name = \"…\", and is written by `roommq passwd`", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The error. It contains no value of the file.
        what: String,
    },
    /// An entry that is not allowed.
    #[error("{}, key `{key}`: {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The key of the entry.
        key: String,
        /// The reason. It contains no value of the file.
        what: String,
    },
    /// A line of mosquitto's password file.
    #[error("{}, line {line}: {what}", path.display())]
    Import {
        /// The password file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The reason. It contains no value of the file.
        what: String,
    },
    /// SCRAM normalizes names and passwords, and does not allow all characters.
    #[error(
        "{0} has characters that SCRAM does not take, or others for them (RFC 4013); choose others, or set it for logins by password alone, with --no-scram"
    )]
    NotPrepared(&'static str),
    /// The operating system gives no random bytes.
    #[error("cannot make a salt: {0}")]
    NoRandomBytes(getrandom::Error),
    /// The password is empty or too long.
    #[error("a password has 1 to 65,535 bytes; this one has {0}")]
    Password(usize),
    /// The password could not be hashed.
    #[error("cannot hash the password: {0}")]
    Hashing(argon2::password_hash::Error),
}

fn read_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "make it with `roommq passwd`",
        std::io::ErrorKind::PermissionDenied => "let the user that runs roommq read it",
        _ => "name the file that `roommq passwd` has written",
    }
}

/// The users file as TOML.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decoy_key: Option<String>,
    #[serde(default)]
    users: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scram: BTreeMap<String, String>,
}

impl UsersFile {
    fn has(&self, user: &str) -> bool {
        self.users.contains_key(user) || self.scram.contains_key(user)
    }
}

impl Users {
    /// The number of users.
    #[must_use]
    pub fn count(&self) -> usize {
        let by_scram_alone = |name: &&String| !self.hashes.contains_key(*name);
        self.hashes.len() + self.verifiers.keys().filter(by_scram_alone).count()
    }

    /// The users whose password is another one in `new`, or that are not there. A hash that a login has
    /// replaced is of the same password.
    pub(crate) fn changed(&self, new: &Users) -> Vec<String> {
        let replaced = self.replaced.lock();
        let same = |user: &String| {
            let hashes = match (self.hashes.get(user), new.hashes.get(user)) {
                (Some(StoredHash::Mosquitto(_)), Some(StoredHash::Argon2(_))) => {
                    replaced.contains(user)
                }
                (old, new) => old == new,
            };
            hashes && self.verifiers.get(user) == new.verifiers.get(user)
        };
        let by_scram = self.verifiers.keys();
        let names: BTreeSet<&String> = self.hashes.keys().chain(by_scram).collect();
        names
            .into_iter()
            .filter(|user| !same(user))
            .cloned()
            .collect()
    }

    /// The verifiers for SCRAM. `decoy` is used if the file has no key, `iterations` if it has no
    /// verifier.
    pub(crate) fn verifiers(&self, decoy: DecoyKey, iterations: u32) -> scram::Verifiers {
        let without = |name: &&String| !self.verifiers.contains_key(*name);
        let without = self.hashes.keys().filter(without).cloned().collect();
        let decoy = self.decoy.unwrap_or(decoy);
        scram::Verifiers::new(self.verifiers.clone(), without, decoy, iterations)
    }

    /// Whether `password` is the password of `user`. It takes tens of milliseconds of a core, as
    /// long for an unknown user. A hash of mosquitto is replaced in the file if the password is right.
    pub(crate) fn verify(&self, user: &str, password: &[u8]) -> bool {
        match self.hashes.get(user) {
            Some(StoredHash::Argon2(hash)) => verified(hash, password),
            Some(StoredHash::Mosquitto(hash)) => {
                self.spend_a_check(password);
                let right = hash.verify(password);
                if right && self.replaced.lock().insert(user.to_owned()) {
                    self.replace(user, &hash.text, password);
                }
                right
            }
            None => {
                self.spend_a_check(password);
                false
            }
        }
    }

    /// A check as costly as that of a user. All argon2 hashes cost the same.
    fn spend_a_check(&self, password: &[u8]) {
        let argon2 = self.hashes.values().find_map(|stored| match stored {
            StoredHash::Argon2(hash) => Some(&**hash),
            StoredHash::Mosquitto(_) => None,
        });
        let nobodys = PasswordHash::new(NOBODYS).ok();
        if let Some(hash) = argon2.or(nobodys.as_ref()) {
            std::hint::black_box(verified(hash, password));
        }
    }

    /// Replaces the hash `old` in the file, unless the file has another one by now.
    fn replace(&self, user: &str, old: &str, password: &[u8]) {
        let path = &self.file;
        let new = Argon2::default().hash_password(password);
        let new = new.map_err(UsersError::Hashing);
        let replaced = new.and_then(|new| {
            change(path, |file| {
                if let Some(stored) = file.users.get_mut(user).filter(|stored| *stored == old) {
                    *stored = new.to_string();
                }
                Ok(())
            })
        });
        match replaced {
            Ok(()) => tracing::info!(user, "mosquitto's password hash was replaced"),
            Err(error) => {
                tracing::warn!(user, %error, "mosquitto's password hash could not be replaced; it still works");
            }
        }
    }
}

fn verified(hash: &PasswordHash, password: &[u8]) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

/// Only the names: a log must not contain hashes.
impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by_scram = self.verifiers.keys();
        let names: BTreeSet<_> = self.hashes.keys().chain(by_scram).collect();
        f.debug_set().entries(names).finish()
    }
}

/// Reads a users file. Logs a warning if users other than its owner may read it.
///
/// # Errors
/// The file cannot be read, is not TOML, or has an unknown table or key, a user name that is not allowed,
/// or a value that is neither an argon2 PHC string nor a verifier.
pub fn load_users(path: &Path) -> Result<Users, UsersError> {
    let file = read_file(path)?;
    warn_if_readable_by_others(path);
    let mut hashes = HashMap::with_capacity(file.users.len());
    for (user, phc) in file.users {
        check_name(path, &user)?;
        let Some(hash) = StoredHash::read(&phc) else {
            let what =
                "no argon2 hash, and none of mosquitto's ($6$, $7$); set it with `roommq passwd`";
            return Err(bad_entry(path, format!("users.{user}"), what));
        };
        hashes.insert(user, hash);
    }
    let mut verifiers = HashMap::with_capacity(file.scram.len());
    for (user, text) in file.scram {
        check_name(path, &user)?;
        // The name is looked up in its normalized form.
        let name_holds = scram::prepared(&user).is_some_and(|name| name == user);
        let Some(verifier) = text.parse().ok().filter(|_| name_holds) else {
            let what = "no verifier for SCRAM-SHA-256 with 4,096 iterations or more; set it with `roommq passwd`";
            return Err(bad_entry(path, format!("scram.{user}"), what));
        };
        verifiers.insert(user, verifier);
    }
    let decoy = file.decoy_key.map(|text| decoy(path, &text)).transpose()?;
    Ok(Users {
        hashes,
        verifiers,
        decoy,
        file: path.to_owned(),
        replaced: Arc::default(),
    })
}

fn decoy(path: &Path, text: &str) -> Result<DecoyKey, UsersError> {
    let bytes = Base64::decode_vec(text)
        .ok()
        .and_then(|b| b.try_into().ok());
    bytes.map(DecoyKey).ok_or_else(|| {
        let what = "no 32 bytes in base64; take the line away, and `roommq passwd` makes another";
        bad_entry(path, "decoy_key".to_owned(), what)
    })
}

fn bad_entry(path: &Path, key: String, what: impl Into<String>) -> UsersError {
    UsersError::Entry {
        path: path.to_owned(),
        key,
        what: what.into(),
    }
}

/// Sets the password of `user` in the users file at `path`.
///
/// The function makes the file, or replaces it as a whole: a reader sees either the old file or the
/// new one. The file keeps its owner, group and mode; only its owner may read one that is new. Other
/// entries stay, comments do not. Calls at one time, of other processes too, wait for each other.
///
/// `iterations` are those of SCRAM-SHA-256, at least 4,096. None: the user can log in only by
/// password.
///
/// # Errors
/// The user name is not allowed, the password is empty or too long, SCRAM does not allow one of them, or
/// the file cannot be read, parsed or written.
pub fn set_password(
    path: &Path,
    user: &str,
    password: &str,
    iterations: Option<u32>,
) -> Result<(), UsersError> {
    check_name(path, user)?;
    if !(1..=PASSWORD_BYTES).contains(&password.len()) {
        return Err(UsersError::Password(password.len()));
    }
    // Before the file is locked, since they take long.
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(UsersError::Hashing)?;
    let verifier = iterations
        .map(|iterations| verifier(user, password, iterations))
        .transpose()?;
    change(path, |users| {
        users.users.insert(user.to_owned(), hash.to_string());
        match verifier {
            None => drop(users.scram.remove(user)),
            Some(verifier) => {
                users.scram.insert(user.to_owned(), verifier.to_string());
                if users.decoy_key.is_none() {
                    let key = random_bytes::<32>().map_err(UsersError::NoRandomBytes)?;
                    users.decoy_key = Some(Base64::encode_string(&key));
                }
            }
        }
        Ok(())
    })
}

/// Changes the users file at `path` while it is locked, or makes it.
fn change(
    path: &Path,
    edit: impl FnOnce(&mut UsersFile) -> Result<(), UsersError>,
) -> Result<(), UsersError> {
    let file = |source| UsersError::Write {
        path: path.to_owned(),
        source,
    };
    let locked = LockedFile::open(path).map_err(file)?;
    let read = locked.read().map_err(|source| UsersError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut users = read.map_or_else(|| Ok(UsersFile::default()), |text| parse(path, &text))?;
    edit(&mut users)?;
    let text = toml::to_string(&users).map_err(|error| file(std::io::Error::other(error)))?;
    locked.replace(&[HEADER, &text].concat()).map_err(file)
}

/// Deletes `user` from the users file at `path`. False: the file has no such user.
///
/// # Errors
/// The file cannot be read, parsed or written.
pub fn delete_user(path: &Path, user: &str) -> Result<bool, UsersError> {
    // Not made, as by a change, if there is none.
    if !read_file(path)?.has(user) {
        return Ok(false);
    }
    let mut deleted = false;
    change(path, |users| {
        deleted = users.has(user);
        users.users.remove(user);
        users.scram.remove(user);
        Ok(())
    })?;
    Ok(deleted)
}

/// A user of a users file, and how it can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// The user's name.
    pub name: String,
    /// By a password that it sends.
    pub by_password: bool,
    /// By SCRAM-SHA-256.
    pub by_scram: bool,
}

/// The users of the file at `path`, by name.
///
/// # Errors
/// The file cannot be read or parsed.
pub fn list_users(path: &Path) -> Result<Vec<ListedUser>, UsersError> {
    let file = read_file(path)?;
    let names: BTreeSet<&String> = file.users.keys().chain(file.scram.keys()).collect();
    let listed = names.into_iter().map(|name| ListedUser {
        name: name.clone(),
        by_password: file.users.contains_key(name),
        by_scram: file.scram.contains_key(name),
    });
    Ok(listed.collect())
}

fn read_file(path: &Path) -> Result<UsersFile, UsersError> {
    let text = std::fs::read_to_string(path).map_err(|source| UsersError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// What [`import_passwords`] has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The users that were added.
    pub added: Vec<String>,
    /// The users that the file had already. They keep their passwords.
    pub present: Vec<String>,
}

/// Adds the users of mosquitto's password file `from` to the users file at `path`, with their hashes.
///
/// # Errors
/// A line is no `name:hash` with an allowed name, or a file cannot be read or written. Nothing is
/// changed then.
pub fn import_passwords(path: &Path, from: &Path) -> Result<Imported, UsersError> {
    let text = std::fs::read_to_string(from).map_err(|source| UsersError::Read {
        path: from.to_owned(),
        source,
    })?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| UsersError::Import {
            path: from.to_owned(),
            line: number + 1,
            what: what.to_owned(),
        };
        let Some((user, hash)) = line.split_once(':') else {
            return Err(wrong("no name and hash with a colon between them"));
        };
        topics::user_name(user).map_err(|bad| wrong(&bad.to_string()))?;
        if StoredHash::read(hash).is_none() {
            return Err(wrong(
                "no hash of mosquitto; if it is a password, hash the file by `mosquitto_passwd -U` first",
            ));
        }
        entries.push((user.to_owned(), hash.to_owned()));
    }
    let mut imported = Imported::default();
    change(path, |users| {
        for (user, hash) in entries {
            if users.users.contains_key(&user) || users.scram.contains_key(&user) {
                imported.present.push(user);
            } else {
                users.users.insert(user.clone(), hash);
                imported.added.push(user);
            }
        }
        Ok(())
    })?;
    Ok(imported)
}

fn verifier(user: &str, password: &str, iterations: u32) -> Result<Verifier, UsersError> {
    if scram::prepared(user).is_none_or(|name| name != user) {
        return Err(UsersError::NotPrepared("the user name"));
    }
    let password = scram::prepared(password).filter(|password| !password.is_empty());
    let password = password.ok_or(UsersError::NotPrepared("the password"))?;
    let salt = random_bytes::<{ scram::SALT }>().map_err(UsersError::NoRandomBytes)?;
    let iterations = iterations.max(scram::FEWEST_ITERATIONS);
    Ok(Verifier::of(&password, salt.to_vec(), iterations))
}

fn check_name(path: &Path, user: &str) -> Result<(), UsersError> {
    topics::user_name(user)
        .map(drop)
        .map_err(|bad| bad_entry(path, format!("users.{user}"), bad.to_string()))
}

/// The error contains only the parser's message. The parser's full text would show a line with a
/// hash.
fn parse(path: &Path, text: &str) -> Result<UsersFile, UsersError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text.as_bytes()[..at];
        UsersError::Syntax {
            path: path.to_owned(),
            line: 1 + before.split(|b| *b == b'\n').count() - 1,
            what: error.message().replace('\n', ", "),
        }
    })
}

/// Whether the hash is a complete one of argon2 with valid parameters.
fn is_usable(hash: &PasswordHash) -> bool {
    hash.algorithm.as_str().starts_with("argon2")
        && hash.salt.is_some()
        && hash.hash.is_some()
        && Params::try_from(hash).is_ok()
}

#[cfg(unix)]
fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!("users file {path} may be read by others than its owner: chmod 600 {path}");
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_: &Path) {}

#[cfg(test)]
mod tests;
