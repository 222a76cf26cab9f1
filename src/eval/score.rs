//! Character error rate.

use std::iter::Sum;
use std::ops::Add;

use crate::eval::lattice::{Edge, Lattice};

/// Errors of a recognised text against what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Substituted, missing and invented characters: the fewest that explain the difference.
    pub errors: u64,
    /// Characters that were said, numbers as they were read.
    pub characters: u64,
}

impl Score {
    /// Errors per character said, in percent; of nothing said, 0 or 100.
    #[expect(
        clippy::cast_precision_loss,
        reason = "texts are far shorter than 2^52 characters"
    )]
    pub fn rate_percent(self) -> f64 {
        match (self.errors, self.characters) {
            (0, _) => 0.0,
            (_, 0) => 100.0,
            (errors, characters) => errors as f64 * 100.0 / characters as f64,
        }
    }
}

impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            errors: self.errors + other.errors,
            characters: self.characters + other.characters,
        }
    }
}

impl Sum for Score {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Self::default(), Add::add)
    }
}

/// Compares what was said with what was recognised.
///
/// Punctuation, spaces and case count for nothing, Traditional characters are as good as Simplified
/// ones, and a number may be written in digits or in any way it is read aloud.
pub fn score(reference: &str, recognised: &str) -> Score {
    let (reference, recognised) = (Lattice::of(reference), Lattice::of(recognised));
    let mut rows: Vec<Vec<Score>> = Vec::with_capacity(reference.len());
    for said in reference.nodes() {
        let mut row = Vec::with_capacity(recognised.len());
        for written in recognised.nodes() {
            let best = best_step(said, written, &rows, &row);
            row.push(best);
        }
        rows.push(row);
    }
    rows.pop().and_then(|mut row| row.pop()).unwrap_or_default()
}

/// The best way to the pair of nodes whose incoming edges these are (Levenshtein's recurrence on two
/// graphs instead of two strings).
fn best_step(said: &[Edge], written: &[Edge], rows: &[Vec<Score>], row: &[Score]) -> Score {
    let place = row.len();
    let mut best: Option<Score> = None;
    let mut consider = |from: Score, errors: u64, characters: u64| {
        let step = from + Score { errors, characters };
        best = Some(best.map_or(step, |best| better(best, step)));
    };
    for edge in said {
        let characters = u64::from(edge.character.is_some());
        consider(rows[edge.from][place], characters, characters);
        for other in written.iter().filter(|other| other.character.is_some()) {
            if edge.character.is_some() {
                let errors = u64::from(edge.character != other.character);
                consider(rows[edge.from][other.from], errors, 1);
            }
        }
    }
    for edge in written {
        consider(row[edge.from], u64::from(edge.character.is_some()), 0);
    }
    best.unwrap_or_default()
}

/// Fewer errors; among equals the longer reading, which is how numbers are read aloud.
fn better(one: Score, other: Score) -> Score {
    let rank = |score: Score| (score.errors, u64::MAX - score.characters);
    if rank(other) < rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_texts_have_no_errors() {
        let score = score("您好，请问有什么可以帮您？", "您好 请问有什么可以帮您");
        assert_eq!(
            score,
            Score {
                errors: 0,
                characters: 11
            }
        );
    }

    #[test]
    fn each_kind_of_error_counts_once() {
        for (recognised, errors) in [
            ("明天上午送到", 0),
            ("明天下午送到", 1),
            ("明天午送到", 1),
            ("明天上上午送到", 1),
            ("", 6),
            ("你好", 6),
        ] {
            assert_eq!(
                score("明天上午送到", recognised),
                Score {
                    errors,
                    characters: 6
                }
            );
        }
    }

    #[test]
    fn digits_and_numerals_are_the_same_number() {
        for (reference, recognised) in [
            ("后四位是三七二九", "后四位是3729"),
            ("一三八零零一二三四五六", "138 0012 3456"),
            ("幺三八", "138"),
            ("〇五三", "053"),
            ("中关村大街二十七号", "中关村大街27号"),
            ("十点以后", "10点以后"),
            ("两千零五块", "2005块"),
            ("一百一十二", "112"),
            ("一百十二", "112"),
            ("百分之七十", "70%"),
            ("三点五", "3.5"),
            ("一万两千", "12,000"),
            ("二十七", "２７"),
            ("十二十", "10，20"),
            ("27号", "二十七号"),
            ("27号", "二七号"),
            ("三亿零二十万", "300200000"),
        ] {
            assert_eq!(
                score(reference, recognised).errors,
                0,
                "{reference} {recognised}"
            );
        }
    }

    #[test]
    fn wrong_number_is_wrong() {
        assert_eq!(
            score("三七二九", "3728"),
            Score {
                errors: 1,
                characters: 4
            }
        );
        assert_eq!(
            score("二十七", "29"),
            Score {
                errors: 1,
                characters: 3
            }
        );
        assert_eq!(
            score("二十", "2"),
            Score {
                errors: 1,
                characters: 2
            }
        );
        assert_eq!(score("三点五", "35").errors, 1);
    }

    #[test]
    fn traditional_is_as_good_as_simplified() {
        assert_eq!(score("请问您的订单号码", "請問您的訂單號碼").errors, 0);
    }

    #[test]
    fn rates_are_in_percent() {
        assert_eq!(
            Score {
                errors: 1,
                characters: 8
            }
            .rate_percent(),
            12.5
        );
        assert_eq!(
            Score {
                errors: 0,
                characters: 0
            }
            .rate_percent(),
            0.0
        );
        assert_eq!(
            Score {
                errors: 3,
                characters: 0
            }
            .rate_percent(),
            100.0
        );
        let sum: Score = [score("好", "好"), score("好的", "")].into_iter().sum();
        assert_eq!(
            sum,
            Score {
                errors: 2,
                characters: 3
            }
        );
    }

    proptest! {
        #[test]
        fn is_the_edit_distance_where_there_are_no_numbers(
            one in "[好的您是]{0,12}", other in "[好的您是]{0,12}",
        ) {
            let characters = one.chars().count() as u64;
            let errors = edit_distance(&one, &other);
            prop_assert_eq!(score(&one, &other), Score { errors, characters });
        }

        #[test]
        fn any_text_equals_itself(text in "\\PC{0,24}") {
            prop_assert_eq!(score(&text, &text).errors, 0);
        }

        #[test]
        fn errors_never_exceed_the_longer_text(one in "[好9点%.,]{0,10}", other in "[好9零%]{0,10}") {
            // A digit is read with at most three characters: 一, its unit, and 零 or 百分之.
            let longer = one.chars().count().max(other.chars().count()) as u64;
            prop_assert!(score(&one, &other).errors <= 4 * longer);
        }
    }

    fn edit_distance(one: &str, other: &str) -> u64 {
        let other: Vec<char> = other.chars().collect();
        let mut row: Vec<u64> = (0..=other.len() as u64).collect();
        for (i, a) in (1..).zip(one.chars()) {
            let mut diagonal = std::mem::replace(&mut row[0], i);
            for (j, b) in other.iter().enumerate() {
                let replaced = diagonal + u64::from(a != *b);
                diagonal = row[j + 1];
                row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
            }
        }
        row[other.len()]
    }
}
