//! As much of Rust's grammar as the checks need: code without comments and literals, and the paths it names.

/// The code of a file: comments, strings and characters are blanked, lines stay where they are.
pub fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let blanked = comment(rest).or_else(|| literal(rest, code.chars().next_back()));
        match blanked {
            Some(length) => {
                code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[length..];
            }
            None => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    code
}

/// Bytes of the comment that `text` starts with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(text.len())
}

/// Bytes of the string or character that `text` starts with; `before` is what stands before it.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(is_word) {
        return None;
    }
    let unprefixed = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = prefix + 1 + hashes + 1;
            return Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()));
        }
    }
    let quote = unprefixed.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let mut escaped = false;
    for (at, c) in unprefixed.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(prefix + at + 1);
        } else if quote == '\'' && at > 1 && !unprefixed.starts_with("'\\") {
            // A second character without a closing quote: a lifetime.
            return None;
        }
    }
    (quote == '"').then_some(text.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path in `code` that starts with `root` (`crate`, `tokio`, ...), groups taken apart: `crate::{a::B, c}` gives
/// `a::B` and `c`. With its line, counted from 1.
pub fn paths(code: &str, root: &str) -> Vec<(usize, String)> {
    let start = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        if !code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == ':') {
            let line = line_at(code, at);
            let mut ends = Vec::new();
            expand(&code[at + start.len()..], "", &mut ends);
            found.extend(ends.into_iter().map(|path| (line, path)));
        }
    }
    found
}

/// Reads one path or group; gives what follows it.
fn expand<'a>(text: &'a str, prefix: &str, out: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            match rest.chars().next() {
                None => return "",
                Some('}') => return &rest[1..],
                Some(_) => {
                    let after = expand(rest, prefix, out);
                    // `as name`, or what cannot stand in a group: to the next item.
                    rest = &after[after.find([',', '}']).unwrap_or(after.len())..];
                }
            }
        }
    }
    let length = text.find(|c| !is_word(c) && c != '*').unwrap_or(text.len());
    let (segment, rest) = text.split_at(length);
    let path = if prefix.is_empty() { segment.to_owned() } else { format!("{prefix}::{segment}") };
    match rest.strip_prefix("::") {
        Some(inner) if inner.trim_start().starts_with(|c| is_word(c) || c == '{' || c == '*') => {
            expand(inner, &path, out)
        }
        _ => {
            out.push(path);
            rest
        }
    }
}

/// The lines of `code` in which `word` stands as a word of its own; `word` may end in `!` or `(`.
pub fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let touches = |c: Option<char>, edge: Option<char>| c.is_some_and(is_word) && edge.is_some_and(is_word);
    code.match_indices(word)
        .filter(|(at, _)| {
            !touches(code[..*at].chars().next_back(), word.chars().next())
                && !touches(code[at + word.len()..].chars().next(), word.chars().next_back())
        })
        .map(|(at, _)| line_at(code, at))
        .collect()
}

fn line_at(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[test]
fn code_has_no_comments_and_literals() {
    let source = r####"a /* x /* y */ z */ b // crate::x
"crate::x \" // " 'c' '\'' 'é' b'"' 'static r#"crate::y " "# br"z" c::<'a>('x')"####;
    let code = code_of(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "'static", "c::<'a>(", ")"]);
    assert!(!code.contains("crate"), "{code}");
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn paths_are_taken_apart() {
    let code = "use crate::{a::{self, B}, c::*, d as e};\nlet x = crate::f::g::<u8>(); pub(crate) use notcrate::h; $crate::i!()";
    let found = paths(code, "crate");
    let expected = ["a::self", "a::B", "c::*", "d", "f::g", "i"];
    assert_eq!(found.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 1, 1, 1, 2, 2]);
}

#[test]
fn words_are_words_of_their_own() {
    assert_eq!(lines_with("unsafe_code\nunsafe {\nMutex<T>, xMutex", "unsafe"), [2]);
    assert_eq!(lines_with("FastMutex\nMutex<T>", "Mutex"), [2]);
}
