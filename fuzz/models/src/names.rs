//! Topic names and filters once more (4.7, 4.8.2), as plainly as it can be said; for speed see `packet/topic.rs`.

/// A filter in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    pub group: Option<&'a str>,
    pub levels: Vec<&'a str>,
}

pub(super) fn is_topic(text: &str) -> bool {
    is_name(text) && !text.contains('+') && !text.contains('#')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 65_535 && !text.contains(char::is_control)
}

/// The filter that `text` is; none where it is malformed.
pub(super) fn filter(text: &str) -> Option<Filter<'_>> {
    if !is_name(text) {
        return None;
    }
    let mut levels: Vec<&str> = text.split('/').collect();
    let mut group = None;
    if levels.len() > 1 && levels[0] == "$share" {
        let name = levels[1];
        levels.drain(..2);
        if name.is_empty() || name.contains('+') || name.contains('#') {
            return None;
        }
        if levels.is_empty() || levels == [""] {
            return None;
        }
        group = Some(name);
    }
    let last = levels.len() - 1;
    for (at, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || at != last) {
            return None;
        }
        if level.contains('+') && *level != "+" {
            return None;
        }
    }
    Some(Filter { group, levels })
}

/// The levels of what is known to be a filter without a group.
pub(super) fn plain(text: &str) -> Filter<'_> {
    Filter {
        group: None,
        levels: text.split('/').collect(),
    }
}

impl Filter<'_> {
    pub(super) fn is_literal(&self) -> bool {
        !self.levels.iter().any(|level| is_wildcard(level))
    }

    /// Whether all topics that can match have the same first two levels.
    pub(super) fn has_one_head(&self) -> bool {
        let head = &self.levels[..self.levels.len().min(2)];
        !head.iter().any(|level| is_wildcard(level))
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && is_wildcard(self.levels[0]) {
            return false;
        }
        let topic: Vec<&str> = topic.split('/').collect();
        let mut at = 0;
        for level in &self.levels {
            if *level == "#" {
                // At the level above it too.
                return at <= topic.len();
            }
            if at == topic.len() || (*level != "+" && *level != topic[at]) {
                return false;
            }
            at += 1;
        }
        at == topic.len()
    }
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}
