//! From what Whisper writes to what the service says.

/// Simplified characters, digits together, no stray spaces; punctuation only where `punctuation`
/// asks for it.
pub(super) fn tidy(text: &str, punctuation: bool) -> String {
    let simplified = particles(&fast2s::convert(text.trim()));
    let mut tidied = String::with_capacity(simplified.len());
    let letters: Vec<char> = simplified.chars().collect();
    for (n, &letter) in letters.iter().enumerate() {
        let before = tidied.chars().next_back();
        let after = letters[n..]
            .iter()
            .copied()
            .find(|&letter| !is_filler(letter));
        if is_filler(letter) {
            if !joins(before, after) && letter == '-' {
                tidied.push(letter);
            } else if !joins(before, after) && before != Some(' ') {
                tidied.push(' ');
            }
        } else if punctuation || !is_punctuation(letter, before, letters.get(n + 1).copied()) {
            tidied.push(letter);
        } else if before.is_some_and(|before| before.is_ascii_alphanumeric()) {
            tidied.push(' ');
        }
    }
    tidied.trim().to_owned()
}

/// After a verb, Traditional 著 is Simplified 着, which the conversion leaves alone; in words such as
/// 著名 it stays.
fn particles(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let at = |n: Option<usize>| n.and_then(|n| letters.get(n)).copied().unwrap_or(' ');
    let is_word = |n: usize| {
        "名作者称述书录".contains(at(Some(n + 1)))
            || "显原卓名编译巨土专".contains(at(n.checked_sub(1)))
    };
    let letters = letters.iter().enumerate();
    letters
        .map(|(n, &letter)| {
            if letter == '著' && !is_word(n) {
                '着'
            } else {
                letter
            }
        })
        .collect()
}

/// Whether a text goes round in circles, as Whisper sometimes does: a stretch of at least twelve
/// characters that repeats one unit three times or more, or a unit of six characters or more twice.
pub(super) fn repeats_itself(text: &str) -> bool {
    let letters: Vec<char> = text
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .collect();
    (1..=letters.len() / 2).any(|unit| {
        let least = if unit >= 6 {
            2 * unit
        } else {
            (3 * unit).max(12)
        };
        longest_run(&letters, unit) >= least
    })
}

/// The longest stretch of period `unit`, in characters; the last turn may be unfinished.
fn longest_run(letters: &[char], unit: usize) -> usize {
    let (mut longest, mut run) = (0, 0);
    for (letter, later) in letters.iter().zip(letters.iter().skip(unit)) {
        run = if letter == later { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest == 0 { 0 } else { longest + unit }
}

const fn is_filler(letter: char) -> bool {
    matches!(letter, ' ' | '\u{3000}' | '-')
}

/// Whether what stands between two characters is no word boundary: `1 3 2`, `13-07`, `您 好`.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            let both_digits = before.is_ascii_digit() && after.is_ascii_digit();
            both_digits || !before.is_ascii() || !after.is_ascii()
        }
        _ => true,
    }
}

/// A point or a comma between two digits belongs to the number, an apostrophe to its word.
fn is_punctuation(letter: char, before: Option<char>, after: Option<char>) -> bool {
    let between = |class: fn(&char) -> bool| {
        before.as_ref().is_some_and(class) && after.as_ref().is_some_and(class)
    };
    match letter {
        '.' | ',' | ':' => !between(char::is_ascii_digit),
        '\'' => !between(char::is_ascii_alphabetic),
        '%' | '+' | '@' | '&' => false,
        _ => !letter.is_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traditional_becomes_simplified() {
        assert_eq!(
            tidy("請問您的電話號碼是多少", false),
            "请问您的电话号码是多少"
        );
    }

    #[test]
    fn digit_strings_are_joined() {
        assert_eq!(
            tidy("號碼是1 3 8-0 0 1 3 8 000", false),
            "号码是13800138000"
        );
        assert_eq!(tidy("13-07-37", true), "130737");
    }

    #[test]
    fn spaces_between_latin_words_stay() {
        assert_eq!(
            tidy("我要升级 Windows 11 谢谢", false),
            "我要升级Windows 11谢谢"
        );
        assert_eq!(tidy("wi-fi", false), "wi-fi");
    }

    #[test]
    fn punctuation_is_said_only_when_asked_for() {
        assert_eq!(
            tidy("您好，请问3.5元吗？ok, bye", false),
            "您好请问3.5元吗ok bye"
        );
        assert_eq!(tidy("您好，请问？", true), "您好，请问？");
    }

    #[test]
    fn loops_are_seen_and_ordinary_repetition_is_not() {
        for text in [
            "谢谢谢谢谢谢谢谢谢谢谢谢谢谢",
            "我的订单什么时候到我的订单什么时候到",
            "好的,好的,好的,好的,好的,好的,好的",
            "123123123123123",
        ] {
            assert!(repeats_itself(text), "{text}");
        }
        for text in [
            "对对对对对",
            "喂喂喂您好",
            "8888888",
            "好的好的谢谢您",
            "",
            "一",
        ] {
            assert!(!repeats_itself(text), "{text}");
        }
    }
}
