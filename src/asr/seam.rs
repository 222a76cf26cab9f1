//! Joins the texts of two parts at a cut that fell among words.
//!
//! The recogniser of the later part hears the last words of the earlier one again. What an engine
//! writes at either edge of its audio is doubtful, because it hears half a word there: so the last
//! characters before the cut are taken from the later text, which begins where it agrees with the
//! earlier one.

use serde::{Deserialize, Serialize};

use crate::media::{SAMPLE_RATE, Samples};

/// The text before a cut, as far as the text after it needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seam {
    /// The end of what was published.
    said: Vec<char>,
    /// What was heard last, and is left to the later text.
    doubtful: String,
    lead_in: Samples,
}

impl Seam {
    /// Takes the doubtful end off a text; `lead_in` of its audio is heard again with what follows.
    pub fn new(text: &mut String, lead_in: Samples) -> Self {
        let letters: Vec<(usize, char)> = letters(text).collect();
        let sure = letters.len().saturating_sub(DOUBTFUL);
        let doubtful = match letters.get(sure) {
            Some(&(at, _)) if sure >= LEAST_COMMON => text.split_off(at),
            _ => String::new(),
        };
        text.truncate(text.trim_end().len());
        let said = letters_of(text);
        Self {
            said: said[said.len().saturating_sub(most_letters(lead_in))..].to_vec(),
            doubtful,
            lead_in,
        }
    }

    /// What a text that begins with the lead-in adds. Where the two have nothing in common, that is
    /// all of it: words are said twice rather than never.
    pub fn join(&self, text: &str) -> String {
        let letters: Vec<(usize, char)> = letters(text).collect();
        let in_lead_in = letters.len().min(most_letters(self.lead_in));
        let heard: Vec<char> = letters[..in_lead_in]
            .iter()
            .map(|(_, letter)| *letter)
            .collect();
        let Some(known) = common_end(&self.said, &heard) else {
            return format!("{}{text}", self.doubtful);
        };
        let rest = letters.get(known).map_or("", |&(at, _)| &text[at..]);
        rest.to_owned()
    }
}

/// How many letters of `heard` say no more than `said` does: those up to the end of the best local
/// alignment (Smith and Waterman 1981), and one for each letter of `said` behind it, which `heard`
/// then has otherwise.
fn common_end(said: &[char], heard: &[char]) -> Option<usize> {
    let mut best = None;
    let mut row = vec![0_usize; heard.len() + 1];
    for (i, letter) in said.iter().enumerate() {
        let behind = said.len() - i - 1;
        let mut diagonal = 0;
        for (j, other) in heard.iter().enumerate() {
            let aligned = if letter == other {
                diagonal + 1
            } else {
                diagonal.max(row[j]).max(row[j + 1]).saturating_sub(1)
            };
            diagonal = std::mem::replace(&mut row[j + 1], aligned);
            let worth = (2 * aligned).saturating_sub(behind);
            if letter == other
                && aligned >= LEAST_COMMON
                && best.is_none_or(|(most, _)| worth > most)
            {
                best = Some((worth, j + 1 + behind));
            }
        }
    }
    best.map(|(_, known)| known.min(heard.len()))
}

/// The letters of a text with their places: punctuation and spaces are no help in comparing.
fn letters(text: &str) -> impl Iterator<Item = (usize, char)> {
    let letters = text
        .char_indices()
        .filter(|(_, letter)| letter.is_alphanumeric());
    letters.map(|(at, letter)| (at, numeral(letter)))
}

fn letters_of(text: &str) -> Vec<char> {
    letters(text).map(|(_, letter)| letter).collect()
}

/// Recognisers write the same number now in digits, now in words.
const fn numeral(letter: char) -> char {
    match letter {
        '0' | '〇' => '零',
        '1' | '幺' => '一',
        '2' | '两' => '二',
        '3' => '三',
        '4' => '四',
        '5' => '五',
        '6' => '六',
        '7' => '七',
        '8' => '八',
        '9' => '九',
        other => other.to_ascii_lowercase(),
    }
}

/// Nobody says more than eight characters a second; the half-heard words at the edges come on top.
fn most_letters(lead_in: Samples) -> usize {
    usize::try_from(lead_in.0 * 8 / u64::from(SAMPLE_RATE)).unwrap_or(usize::MAX) + 2
}

/// The word that the cut went through, and the one before, which engines bend to fit.
const DOUBTFUL: usize = 2;
/// Fewer common characters may be chance.
const LEAST_COMMON: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_that_was_cut_through_is_taken_from_the_later_text() {
        for (before, after, sure, rest) in [
            // Heard by Whisper base on both sides of cuts in speech without pauses.
            (
                "学校方面明天全是小学张局",
                "明天全是小学将举行秋季运动会部分路段会临时限行",
                "学校方面明天全是小学",
                "将举行秋季运动会部分路段会临时限行",
            ),
            (
                "气温下降5到8度周3到周4有一",
                "西文下降58度周三到周四有一次明显的降雨过程",
                "气温下降5到8度周3到周4",
                "有一次明显的降雨过程",
            ),
            (
                "我们下周同一时间再见后自为13点",
                "一时间再见后自为13729今天下午三点以后我都在家",
                "我们下周同一时间再见后自为1",
                "3729今天下午三点以后我都在家",
            ),
            (
                "人员安排，下个月有两位同事要休假。",
                "大个月有两位同事要修假，他们的工作有小王和小李",
                "人员安排，下个月有两位同事要",
                "修假，他们的工作有小王和小李",
            ),
        ] {
            assert_eq!(joined(before, after), (sure.to_owned(), rest.to_owned()));
        }
    }

    #[test]
    fn a_different_end_of_the_published_text_is_not_said_again() {
        let (sure, rest) = joined("请提前安排好世间的事", "提前安排好时间。另外火车站");
        assert_eq!(
            (sure.as_str(), rest.as_str()),
            ("请提前安排好世间", "另外火车站")
        );
    }

    #[test]
    fn texts_with_nothing_in_common_are_both_kept_whole() {
        let (sure, rest) = joined("收听本周的天气和交通信息", "周三到周四有一次降雨");
        assert_eq!(sure + &rest, "收听本周的天气和交通信息周三到周四有一次降雨");
    }

    #[test]
    fn a_later_text_that_is_empty_loses_nothing() {
        let (sure, rest) = joined("开放时间是上午九点", "");
        assert_eq!(sure + &rest, "开放时间是上午九点");
    }

    #[test]
    fn a_short_text_is_published_whole() {
        assert_eq!(
            joined("好的", "好的，谢谢"),
            ("好的".to_owned(), "好的，谢谢".to_owned())
        );
    }

    proptest! {
        #[test]
        fn well_heard_speech_comes_out_as_it_went_in(
            words in "[一-龥]{30,60}", cut in 20_usize..28, lead_in in 6_usize..12, wrong in "[a-z]{0,2}",
        ) {
            let letters: Vec<char> = words.chars().collect();
            let distinct: std::collections::BTreeSet<_> = letters.iter().collect();
            prop_assume!(distinct.len() == letters.len());
            let kept = cut - wrong.len();
            let before: String = letters[..kept].iter().copied().chain(wrong.chars()).collect();
            let after: String = letters[cut - lead_in..].iter().collect();
            let (sure, rest) = joined(&before, &after);
            prop_assert_eq!(sure + &rest, words);
        }

        #[test]
        fn any_text_is_joined(before in ".{0,80}", after in ".{0,80}") {
            let (sure, rest) = joined(&before, &after);
            prop_assert!(before.starts_with(&sure));
            prop_assert!(after.ends_with(&rest) || rest.ends_with(&after));
        }
    }

    fn joined(before: &str, after: &str) -> (String, String) {
        let mut before = before.to_owned();
        let seam = Seam::new(&mut before, Samples::from_ms(2_500));
        let rest = seam.join(after);
        (before, rest)
    }
}
