//! A text as the graph of everything that it may stand for.

use std::iter::Peekable;
use std::str::Chars;

use crate::eval::number::{Spoken, Written};

/// A text as a graph: each path from the first node to the last spells one reading.
///
/// Nodes are numbered so that every edge leads to a higher one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lattice {
    incoming: Vec<Vec<Edge>>,
}

/// A step that ends at the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The node where it begins.
    pub from: usize,
    /// What it spells; `None` for nothing.
    pub character: Option<char>,
}

impl Lattice {
    /// The graph of a text: Simplified, lower case, without punctuation and spaces, each number as
    /// all its readings.
    pub fn of(text: &str) -> Self {
        let text = fast2s::convert(text);
        let text: String = text
            .chars()
            .map(half_width)
            .flat_map(char::to_lowercase)
            .collect();
        let text = without_spaces_in_numbers(&text);
        let mut lattice = Self {
            incoming: vec![Vec::new()],
        };
        let mut rest = text.as_str();
        while let Some(character) = rest.chars().next() {
            if let Some((number, after)) = take_number(rest) {
                lattice.push_readings(&number.readings());
                rest = after;
                continue;
            }
            if character.is_alphanumeric() {
                lattice.push_character(if character == '〇' { '零' } else { character });
            }
            rest = &rest[character.len_utf8()..];
        }
        lattice
    }

    /// How many nodes there are; one for an empty text.
    #[expect(clippy::len_without_is_empty, reason = "there is always a first node")]
    pub fn len(&self) -> usize {
        self.incoming.len()
    }

    /// The edges that lead to each node, in the order of the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &[Edge]> {
        self.incoming.iter().map(Vec::as_slice)
    }

    fn last(&self) -> usize {
        self.incoming.len() - 1
    }

    fn push_character(&mut self, character: char) {
        let edge = Edge {
            from: self.last(),
            character: Some(character),
        };
        self.incoming.push(vec![edge]);
    }

    /// Lets all readings begin at the last node and meet in a new one.
    fn push_readings(&mut self, readings: &[Vec<Spoken>]) {
        let start = self.last();
        let mut ends = Vec::new();
        for reading in readings {
            let mut from = start;
            for spoken in reading {
                let spells = |character| Edge { from, character };
                let mut edges = vec![spells(Some(spoken.character))];
                edges.extend(spoken.instead.map(|instead| spells(Some(instead))));
                edges.extend(spoken.is_optional.then(|| spells(None)));
                self.incoming.push(edges);
                from = self.last();
            }
            ends.push(Edge {
                from,
                character: None,
            });
        }
        self.incoming.push(ends);
    }
}

/// Splits off a number at the start of the text: `12`, `3.5`, `70%`, `12,000`.
fn take_number(text: &str) -> Option<(Written<'_>, &str)> {
    let (whole, mut rest) = take_digits(text)?;
    let mut number = Written {
        whole,
        fraction: None,
        is_percent: false,
    };
    if let Some((fraction, after)) = rest.strip_prefix('.').and_then(take_digits) {
        number.fraction = Some(fraction);
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('%') {
        number.is_percent = true;
        rest = after;
    }
    Some((number, rest))
}

fn take_digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Joins digits that recognisers set apart: `138 0012`, `13-07-37`, `12,000`.
fn without_spaces_in_numbers(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let is_separator = matches!(character, ' ' | '-' | ',');
        let follows_digit = joined.ends_with(|c: char| c.is_ascii_digit());
        if !(is_separator && follows_digit && is_before_digit(&mut rest)) {
            joined.push(character);
        }
    }
    joined
}

fn is_before_digit(rest: &mut Peekable<Chars<'_>>) -> bool {
    rest.peek().is_some_and(char::is_ascii_digit)
}

/// The ASCII character of a full-width letter, digit, point or percent sign (Unicode block Halfwidth
/// and Fullwidth Forms). The full-width comma stays: it parts clauses, not thousands.
fn half_width(character: char) -> char {
    let ascii = u32::from(character)
        .checked_sub(0xfee0)
        .and_then(char::from_u32);
    let is_wanted = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '%');
    ascii.filter(is_wanted).unwrap_or(character)
}
