//! Sounds of a telephone line, made by program.

use std::f32::consts::TAU;

/// A small generator of random numbers (xorshift64*): the same seed gives the same call.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let unit = bits as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small counts"
        )]
        let index = self.between(0.0, count as f32) as usize;
        index.min(count - 1)
    }

    /// Nearly normal: a sum of twelve.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}

pub(crate) fn white(random: &mut Random, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.normal()).collect()
}

/// Noise that falls 3 dB an octave: white noise through Kellet's filter.
pub(crate) fn pink(random: &mut Random, len: usize) -> Vec<f32> {
    let mut poles = [0.0; 3];
    let mut next = || {
        let white = random.normal();
        poles[0] = 0.997_65 * poles[0] + white * 0.099_046;
        poles[1] = 0.963 * poles[1] + white * 0.296_516_4;
        poles[2] = 0.57 * poles[2] + white * 1.052_691_3;
        poles.iter().sum::<f32>() + white * 0.184_8
    };
    (0..len).map(|_| next()).collect()
}

/// Eight talkers: the speech itself, from eight other places.
pub(crate) fn babble(random: &mut Random, speech: &[f32], len: usize) -> Vec<f32> {
    let mut sum = vec![0.0; len];
    for _ in 0..8 {
        let from = random.index(speech.len());
        let loudness = random.between(0.6, 1.4);
        let talker = speech[from..].iter().chain(speech).cycle();
        // A pause of the others would be a pause of the babble: leave out what is silent.
        let spoken = talker.filter(|sample| sample.abs() > 1e-4);
        sum.iter_mut()
            .zip(spoken)
            .for_each(|(sum, sample)| *sum += sample * loudness);
    }
    sum
}

/// The ring-back of mainland China: 450 Hz, 1 s in 5.
pub(crate) fn ring_back(len: usize) -> Vec<f32> {
    pulses(len, 1.0, 5.0)
}

/// A busy line: 450 Hz, 350 ms in 700.
pub(crate) fn busy(len: usize) -> Vec<f32> {
    pulses(len, 0.35, 0.7)
}

/// 450 Hz for so many seconds in each period.
fn pulses(len: usize, on: f32, period: f32) -> Vec<f32> {
    tone(len, |t| match t % period < on {
        true => (TAU * 450.0 * t).sin(),
        false => 0.0,
    })
}

/// Keys (ITU-T Q.23), 120 ms each, three a second.
pub(crate) fn dtmf(random: &mut Random, len: usize) -> Vec<f32> {
    const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    let keys: Vec<_> = (0..64)
        .map(|_| (ROWS[random.index(4)], COLUMNS[random.index(4)]))
        .collect();
    tone(len, |t| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let (row, column) = keys[(t * 3.0) as usize % keys.len()];
        let on = t % (1.0 / 3.0) < 0.12;
        if on {
            (TAU * row * t).sin() + (TAU * column * t).sin()
        } else {
            0.0
        }
    })
}

/// Hold music: plucked broken chords over a bass, with a held tune above.
pub(crate) fn music(random: &mut Random, len: usize) -> Vec<f32> {
    const CHORDS: [[f32; 3]; 4] = [
        [0.0, 4.0, 7.0],
        [9.0, 12.0, 16.0],
        [5.0, 9.0, 12.0],
        [7.0, 11.0, 14.0],
    ];
    let pitch = |step: f32| 220.0 * 2.0_f32.powf(step / 12.0);
    let tune: Vec<f32> = (0..32)
        .map(|_| [12.0, 14.0, 16.0, 19.0, 21.0][random.index(5)])
        .collect();
    tone(len, |t| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let [bar, eighth, beat] = [t / 2.0, t * 4.0, t * 2.0].map(|beats| beats as usize);
        let chord = CHORDS[bar % 4];
        let pluck =
            partials(pitch(chord[[0, 1, 2, 1][eighth % 4]]), t, 6) * (-8.0 * (t % 0.25)).exp();
        let bass = partials(pitch(chord[0] - 12.0), t, 4) * (-2.0 * (t % 1.0)).exp();
        let vibrato = t + 0.000_3 * (TAU * 5.5 * t).sin();
        let held = partials(pitch(tune[beat % 32]), vibrato, 9) * ((t % 0.5) * 12.0).min(1.0);
        pluck + 0.8 * bass + 0.7 * held
    })
}

fn partials(pitch: f32, t: f32, count: u8) -> f32 {
    (1..=count)
        .map(f32::from)
        .map(|n| (TAU * pitch * n * t).sin() / n)
        .sum()
}

/// Sudden short noises, about two a second: keys, knocks, a handset put down.
pub(crate) fn clicks(random: &mut Random, len: usize) -> Vec<f32> {
    let mut sound = vec![0.0; len];
    let mut at = 0;
    while at < len {
        let ring = random.between(40.0, 240.0);
        let loudness = random.between(0.3, 1.0);
        let mut fade = loudness;
        for sample in &mut sound[at..] {
            *sample += random.normal() * fade;
            fade *= (-1.0 / ring).exp();
            if fade < 1e-3 {
                break;
            }
        }
        at += 800 + random.index(7_000);
    }
    sound
}

fn tone(len: usize, at: impl Fn(f32) -> f32) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "some minutes of samples")]
    let time = |index: usize| (index % 2_400_000) as f32 / 8_000.0;
    (0..len).map(|index| at(time(index))).collect()
}
