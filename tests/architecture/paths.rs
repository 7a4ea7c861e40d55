//! The paths that a Rust source names.
//!
//! Lives here: a tokenizer that leaves out comments and literals, the paths of
//! `use` trees and of expressions, names brought by `use` and by `super`.
//! May not: know a rule.

use std::collections::HashMap;

/// A path as seen from outside, and where it stands.
///
/// Its first part is `crate`, or a name as written: another crate's, or one that
/// a `use` did not bring and which therefore is local.
#[derive(Debug)]
pub(crate) struct NamedPath {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// Every path in `text`, the source of `module`, items under `#[cfg(test)]`
/// left out: a layer's tests may use what they like.
pub(crate) fn named_paths(text: &str, module: &[String]) -> Vec<NamedPath> {
    let tokens = without_tests(&tokens(text));
    let mut reader = Reader { tokens: &tokens, at: 0, brought: HashMap::new(), found: Vec::new() };
    reader.read(module);
    reader.found
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

type Tokens = Vec<(Token, usize)>;

fn tokens(text: &str) -> Tokens {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = end_of_string(&chars, i),
            'r' | 'b' | 'c' if starts_literal(&chars, i) => {
                while at(i) != '"' && at(i) != '\'' && at(i) != '#' {
                    i += 1;
                }
                i = match at(i) {
                    '\'' => end_of_char(&chars, i),
                    _ if chars[start..i].contains(&'r') => end_of_raw_string(&chars, i),
                    _ => end_of_string(&chars, i),
                };
            }
            // A lifetime has no closing quote behind its first character.
            '\'' if at(i + 1) != '\\' && at(i + 2) != '\'' => i += 1,
            '\'' => i = end_of_char(&chars, i),
            c if c.is_alphanumeric() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                tokens.push((Token::Word(chars[start..i].iter().collect()), line));
            }
            ':' if at(i + 1) == ':' => {
                tokens.push((Token::Colons, line));
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Sign(c), line));
                }
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Whether `r`, `b` or `c` here is a literal's prefix: `b"`, `br#"`, `b'`.
fn starts_literal(chars: &[char], start: usize) -> bool {
    let mut i = start;
    while matches!(chars.get(i), Some('r' | 'b' | 'c')) && i < start + 2 {
        i += 1;
    }
    let raw = chars[start..i].contains(&'r');
    while raw && chars.get(i) == Some(&'#') {
        i += 1;
    }
    match chars.get(i) {
        Some('"') => true,
        Some('\'') => chars[start] == 'b' && i == start + 1,
        _ => false,
    }
}

fn end_of_string(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
    let mut i = start + hashes + 1;
    while i < chars.len() {
        let closes = chars[i] == '"'
            && chars[i + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes;
        if closes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

fn end_of_char(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '\'' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Leaves out each item behind `#[cfg(test)]`: to its `;`, or to the end of its
/// braces.
fn without_tests(tokens: &Tokens) -> Tokens {
    let cfg_test: Vec<Token> = [
        Token::Sign('#'),
        Token::Sign('['),
        Token::Word("cfg".into()),
        Token::Sign('('),
        Token::Word("test".into()),
        Token::Sign(')'),
        Token::Sign(']'),
    ]
    .into();
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let ahead = tokens[i..].iter().take(cfg_test.len()).map(|(token, _)| token);
        if !ahead.eq(cfg_test.iter()) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += cfg_test.len();
        let mut depth = 0;
        while i < tokens.len() {
            let token = &tokens[i].0;
            i += 1;
            match token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(token, Token::Sign('}' | ';')) {
                break;
            }
        }
    }
    kept
}

struct Reader<'a> {
    tokens: &'a Tokens,
    at: usize,
    /// Names that a `use` brought, and what each stands for.
    brought: HashMap<String, Vec<String>>,
    found: Vec<NamedPath>,
}

impl Reader<'_> {
    fn read(&mut self, file: &[String]) {
        // Modules within the file, each with the depth of its braces.
        let mut inner: Vec<(String, usize)> = Vec::new();
        let mut depth = 0_usize;
        while let Some((token, _)) = self.tokens.get(self.at).cloned() {
            let here = || {
                file.iter().chain(inner.iter().map(|(name, _)| name)).cloned().collect::<Vec<_>>()
            };
            match token {
                Token::Sign('{') => (depth, self.at) = (depth + 1, self.at + 1),
                Token::Sign('}') => {
                    depth = depth.saturating_sub(1);
                    inner.retain(|(_, opened)| *opened <= depth);
                    self.at += 1;
                }
                Token::Word(word) if word == "mod" => {
                    self.at += 1;
                    if let (Some(Token::Word(name)), Some(Token::Sign('{'))) =
                        (self.token(0), self.token(1))
                    {
                        inner.push((name.clone(), depth + 1));
                    }
                }
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.tree(&[], &here(), true);
                }
                Token::Word(_) | Token::Colons => {
                    let is_path = token == Token::Colons || self.token(1) == Some(&Token::Colons);
                    let continues =
                        self.at > 0 && matches!(self.tokens[self.at - 1].0, Token::Sign('>' | '.'));
                    if is_path && !continues {
                        self.tree(&[], &here(), false);
                    } else {
                        self.at += 1;
                    }
                }
                Token::Sign(_) => self.at += 1,
            }
        }
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    /// Reads a path or a tree of them behind `prefix`.
    fn tree(&mut self, prefix: &[String], here: &[String], in_use: bool) {
        let mut path = prefix.to_vec();
        let mut line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        loop {
            match self.token(0).cloned() {
                Some(Token::Word(word)) => {
                    line = self.tokens[self.at].1;
                    path.push(word);
                    self.at += 1;
                    if self.token(0) != Some(&Token::Colons) {
                        break;
                    }
                }
                Some(Token::Colons) => self.at += 1,
                Some(Token::Sign('*')) if in_use => {
                    line = self.tokens[self.at].1;
                    path.push("*".into());
                    self.at += 1;
                    break;
                }
                Some(Token::Sign('{')) if in_use => {
                    self.at += 1;
                    while self.token(0).is_some() && self.token(0) != Some(&Token::Sign('}')) {
                        let before = self.at;
                        self.tree(&path, here, true);
                        if self.token(0) == Some(&Token::Sign(',')) || self.at == before {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                // Generic arguments, or the end of a prefix such as `a::<T>`.
                _ => break,
            }
        }
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let mut name = path.last().cloned();
        if in_use && self.token(0) == Some(&Token::Word("as".into())) {
            if let Some(Token::Word(other)) = self.token(1) {
                name = Some(other.clone());
            }
            self.at += 2;
        }
        if path.is_empty() {
            return;
        }
        let path = self.seen_from_outside(path, here);
        if let (true, Some(name)) = (in_use, name)
            && name != "*"
        {
            self.brought.insert(name, path.clone());
        }
        self.found.push(NamedPath { path, line });
    }

    /// Resolves `self`, `super` and names that a `use` brought.
    fn seen_from_outside(&self, path: Vec<String>, here: &[String]) -> Vec<String> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups > 0 || path[0] == "self" {
            let base = &here[..here.len().saturating_sub(ups)];
            let rest = path.iter().skip(ups.max(1));
            return [String::from("crate")].iter().chain(base).chain(rest).cloned().collect();
        }
        match self.brought.get(&path[0]) {
            Some(whole) if path.len() > 1 => whole.iter().chain(&path[1..]).cloned().collect(),
            _ => path,
        }
    }
}
