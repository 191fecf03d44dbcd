//! The people: sex, age, height and weight distributed as in the data set, and a matching size of the hand.

use super::draw::Draw;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;

/// Mean scale of a hand relative to that of the anatomy table, which was measured mostly on men.
const MEAN_SCALE: f64 = 0.972;
/// Standard deviation of the scale.
const SCALE_SD: f64 = 0.058;
/// Share of men among the people, and of rotated hands among the hands.
struct Shares {
    men: f64,
    rotated: f64,
}

const fn shares(subset: Subset) -> Shares {
    match subset {
        Subset::Train => Shares { men: 182.0 / 400.0, rotated: 94.0 / 800.0 },
        Subset::Test => Shares { men: 76.0 / 144.0, rotated: 166.0 / 288.0 },
    }
}
/// Share of people with exactly one rotated hand.
const SINGLES: f64 = 0.015;

/// One person.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Three digits.
    pub id: String,
    /// Part of the data; `None` for people in the workbook who have no images.
    pub subset: Option<Subset>,
    /// True sex.
    pub sex: Sex,
    /// Years.
    pub age: u32,
    /// Whole centimetres.
    pub height: u32,
    /// Whole kilograms.
    pub weight: u32,
    /// Size of the hands relative to the anatomy table's mean hand.
    pub scale: f64,
    /// Width of the bones relative to their length.
    pub stoutness: f64,
    /// Thickness of the cortex, thinner with age.
    pub cortex: f64,
    /// Width of the soft tissue relative to the mean.
    pub flesh: f64,
    /// Whether the right and the left hand are rotated.
    pub rotated: [bool; 2],
}

/// Draws `train` and `test` people and a few more without images, in the order of their IDs.
pub fn people(train: usize, test: usize, seed: u64) -> Vec<Person> {
    let mut draw = Draw::new(seed, "patients", 0);
    let with_images = train + test;
    let spare = (with_images * 6).div_ceil(544).max(2);
    let mut subsets = vec![Some(Subset::Train); train];
    subsets.extend(vec![Some(Subset::Test); test]);
    subsets.extend(vec![None; spare]);
    draw.shuffle(&mut subsets);

    let mut of_train = attributes(train, &shares(Subset::Train), &mut draw).into_iter();
    let mut of_test = attributes(test, &shares(Subset::Test), &mut draw).into_iter();
    subsets
        .into_iter()
        .enumerate()
        .map(|(index, subset)| {
            let drawn = match subset {
                Some(Subset::Train) => of_train.next(),
                Some(Subset::Test) => of_test.next(),
                None => None,
            };
            let (sex, rotated) = drawn.unwrap_or_else(|| (if draw.chance(0.5) { Sex::M } else { Sex::F }, [false; 2]));
            person(format!("{:03}", index + 1), subset, sex, rotated, &mut draw)
        })
        .collect()
}

/// Sex and rotation of `n` people. The shares of the subset hold exactly (rounded) instead of on average, so that small
/// data sets have them as well.
fn attributes(n: usize, shares: &Shares, draw: &mut Draw) -> Vec<(Sex, [bool; 2])> {
    let men = (n as f64 * shares.men).round() as usize;
    let mut sexes: Vec<Sex> = (0..n).map(|i| if i < men { Sex::M } else { Sex::F }).collect();
    draw.shuffle(&mut sexes);
    let hands = (2.0 * n as f64 * shares.rotated).round() as usize;
    let wanted = (n as f64 * SINGLES).round() as usize;
    let singles = if hands % 2 == wanted % 2 { wanted } else { wanted + 1 }.min(hands);
    let both = (hands - singles) / 2;
    let mut rotated: Vec<[bool; 2]> = (0..n)
        .map(|i| {
            if i < both {
                [true; 2]
            } else if i < both + singles {
                [i % 2 == 0, i % 2 == 1]
            } else {
                [false; 2]
            }
        })
        .collect();
    draw.shuffle(&mut rotated);
    sexes.into_iter().zip(rotated).collect()
}

fn person(id: String, subset: Option<Subset>, sex: Sex, rotated: [bool; 2], draw: &mut Draw) -> Person {
    let within = |draw: &mut Draw, mean: f64, sd: f64, low: f64, high: f64| loop {
        let value = draw.normal(mean, sd);
        if (low..=high).contains(&value) {
            break value;
        }
    };
    // Mostly young adults; the oldest are 69.
    let age = loop {
        let value = 19.0 + 4.0 * draw.uniform(0.0, 1.0) - 13.0 * draw.uniform(1e-4, 1.0).ln();
        if value <= 69.0 {
            break value;
        }
    };
    let height = match sex {
        Sex::M => within(draw, 173.8, 5.2, 158.0, 187.0),
        Sex::F => within(draw, 161.4, 4.9, 150.0, 178.0),
    };
    let (usual, spread) = match sex {
        Sex::M => (73.5 + 0.80 * (height - 173.8), 9.8),
        Sex::F => (56.5 + 0.55 * (height - 161.4), 7.2),
    };
    let weight = within(draw, usual, spread, 42.0, 118.0);
    let heavy = (weight - usual) / spread;
    let tall = (height - 167.2) / 8.0;
    let male = if sex == Sex::M { 1.0 } else { -1.0 };
    // The size of the hand depends on height, and slightly on build and sex.
    let size = 0.66 * tall + 0.15 * male + 0.09 * heavy + draw.normal(0.0, 0.50);
    let years = (age - 35.0) / 30.0;
    Person {
        id,
        subset,
        sex,
        age: age.floor() as u32,
        height: height.round() as u32,
        weight: weight.round() as u32,
        scale: MEAN_SCALE * (1.0 + SCALE_SD * size),
        stoutness: 1.0 + 0.008 * male + draw.normal(0.0, 0.012),
        cortex: (1.02 + 0.04 * male - 0.16 * years.max(0.0) + draw.normal(0.0, 0.06)).clamp(0.6, 1.25),
        flesh: (1.0 + 0.035 * heavy + draw.normal(0.0, 0.02)).clamp(0.9, 1.15),
        rotated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_real_data_set() {
        let all = people(400, 144, 11);
        for (subset, men, hands) in [(Subset::Train, 182, 94), (Subset::Test, 76, 166)] {
            let of: Vec<&Person> = all.iter().filter(|p| p.subset == Some(subset)).collect();
            assert_eq!(of.iter().filter(|p| p.sex == Sex::M).count(), men);
            assert_eq!(of.iter().flat_map(|p| p.rotated).filter(|r| *r).count(), hands);
            assert!(of.iter().any(|p| p.rotated[0] != p.rotated[1]));
        }
        assert_eq!(all.len(), 550);
        assert_eq!(all[549].id, "550");
        for p in &all {
            assert!((19..=69).contains(&p.age) && (150..=187).contains(&p.height) && (42..=118).contains(&p.weight));
        }
    }

    #[test]
    fn small_sets_have_both_poses() {
        let all = people(24, 8, 7);
        let rotated = |s| all.iter().filter(|p| p.subset == Some(s)).flat_map(|p| p.rotated).filter(|r| *r).count();
        assert_eq!(rotated(Subset::Train), 6);
        assert_eq!(rotated(Subset::Test), 9);
    }
}
