//! The ways in which a number in digits is read aloud in Mandarin.

/// A character of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    /// The usual word.
    pub(super) character: char,
    /// What many say instead.
    pub(super) instead: Option<char>,
    /// Whether it may be left out.
    pub(super) is_optional: bool,
}

/// A number as it is written: ASCII digits, at most one decimal point, perhaps a percent sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written<'a> {
    pub(super) whole: &'a str,
    pub(super) fraction: Option<&'a str>,
    pub(super) is_percent: bool,
}

impl Written<'_> {
    /// Every reading: as a value, and digit by digit.
    pub(super) fn readings(&self) -> Vec<Vec<Spoken>> {
        let wholes = [value(self.whole), Some(digit_by_digit(self.whole))];
        wholes
            .into_iter()
            .flatten()
            .map(|whole| self.complete(whole))
            .collect()
    }

    fn complete(&self, whole: Vec<Spoken>) -> Vec<Spoken> {
        let mut reading = Vec::new();
        if self.is_percent {
            reading.extend("百分之".chars().map(plain));
        }
        reading.extend(whole);
        if let Some(fraction) = self.fraction {
            reading.push(plain('点'));
            reading.extend(digit_by_digit(fraction));
        }
        reading
    }
}

fn plain(character: char) -> Spoken {
    Spoken {
        character,
        instead: None,
        is_optional: false,
    }
}

/// As a telephone number is read; 一 may be 幺, so that nobody takes it for 七.
fn digit_by_digit(digits: &str) -> Vec<Spoken> {
    let spoken = |digit: usize| match digit {
        1 => Spoken {
            instead: Some('幺'),
            ..plain('一')
        },
        _ => plain(NUMERALS[digit]),
    };
    digits
        .bytes()
        .map(|byte| spoken(usize::from(byte - b'0').min(9)))
        .collect()
}

/// As a quantity is read; `None` for what nobody reads so: a leading zero, more than 16 digits.
fn value(digits: &str) -> Option<Vec<Spoken>> {
    if digits == "0" {
        return Some(vec![plain('零')]);
    }
    if digits.starts_with('0') || digits.len() > 16 {
        return None;
    }
    let mut reading: Vec<Spoken> = Vec::new();
    let mut is_zero_due = false;
    for (place, byte) in (0..digits.len()).rev().zip(digits.bytes()) {
        let digit = usize::from(byte - b'0').min(9);
        if digit == 0 {
            is_zero_due = true;
        } else {
            if std::mem::take(&mut is_zero_due) {
                reading.push(plain('零'));
            }
            let is_ten = digit == 1 && place % 4 == 1;
            let instead = (digit == 2 && place % 4 != 1).then_some('两');
            reading.push(Spoken {
                character: NUMERALS[digit],
                instead,
                is_optional: is_ten,
            });
            reading.extend(["", "十", "百", "千"][place % 4].chars().map(plain));
        }
        let group = &digits[..digits.len() - place];
        let is_group_empty = group.bytes().rev().take(4).all(|byte| byte == b'0');
        if place % 4 == 0 && !is_group_empty {
            reading.extend(["", "万", "亿", "兆"][place / 4].chars().map(plain));
        }
    }
    Some(reading)
}

const NUMERALS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_read_them() {
        for (digits, reading) in [
            ("0", "零"),
            ("10", "一十"),
            ("105", "一百零五"),
            ("110", "一百一十"),
            ("2005", "二千零五"),
            ("10001", "一万零一"),
            ("100000", "一十万"),
            ("300200000", "三亿零二十万"),
            ("100000000", "一亿"),
        ] {
            let read: String = value(digits).unwrap().iter().map(|s| s.character).collect();
            assert_eq!(read, reading);
        }
        assert_eq!(value("007"), None);
    }
}
