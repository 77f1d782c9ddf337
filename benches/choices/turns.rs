//! Candidates in turns, and what is printed of them.

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often each candidate runs.
    pub rounds: usize,
    /// Only to show that it works: as little as possible, and no figures.
    pub is_trial: bool,
}

impl Extent {
    /// `full`, or `trial` where it is one.
    pub fn pick<T>(self, trial: T, full: T) -> T {
        if self.is_trial { trial } else { full }
    }
}

/// One way to do it.
pub struct Candidate<'a, const N: usize> {
    name: String,
    run: Box<dyn FnMut() -> [f64; N] + 'a>,
}

impl<'a, const N: usize> Candidate<'a, N> {
    pub fn new(name: impl Into<String>, run: impl FnMut() -> [f64; N] + 'a) -> Self {
        Candidate { name: name.into(), run: Box::new(run) }
    }
}

/// Says what the columns of a choice are.
pub fn head(extent: Extent, note: &str, figures: &[&str]) {
    if extent.is_trial {
        return;
    }
    println!("  {note}");
    println!(
        "  {} rounds in turns: median (range); x: to the first of each group, median of the pairs",
        extent.rounds
    );
    println!("  {:NAME_WIDTH$}{}", "", row(figures.iter().map(|figure| (*figure).to_owned())));
}

/// Runs the candidates in turns and prints a line for each. The first is the product's way, with which the others are
/// compared round by round.
pub fn compare<const N: usize>(extent: Extent, case: &str, mut candidates: Vec<Candidate<'_, N>>) {
    let count = candidates.len();
    let mut results: Vec<Vec<[f64; N]>> = vec![Vec::new(); count];
    for round in 0..extent.rounds {
        for turn in 0..count {
            // Another one begins each round.
            let at = (round + turn) % count;
            results[at].push((candidates[at].run)());
        }
    }
    if extent.is_trial {
        return;
    }
    println!("  {case}");
    for (at, (candidate, result)) in candidates.iter().zip(&results).enumerate() {
        let cells = (0..N).map(|figure| {
            let values: Vec<f64> = result.iter().map(|run| run[figure]).collect();
            let ratios =
                result.iter().zip(&results[0]).map(|(run, first)| run[figure] / first[figure]).collect();
            cell(values, (at > 0).then_some(ratios))
        });
        println!("    {:width$}{}", candidate.name, row(cells), width = NAME_WIDTH - 2);
    }
}

const NAME_WIDTH: usize = 40;
const CELL_WIDTH: usize = 30;

fn row(cells: impl Iterator<Item = String>) -> String {
    let row: String = cells.map(|cell| format!("{cell:CELL_WIDTH$}  ")).collect();
    row.trim_end().to_owned()
}

/// Median and range, and the median of the ratios.
fn cell(mut values: Vec<f64>, ratios: Option<Vec<f64>>) -> String {
    values.sort_by(f64::total_cmp);
    let (least, most) = (short(values[0]), short(values[values.len() - 1]));
    let ratio = ratios.map_or_else(String::new, |ratios| format!(" x{:.2}", median(ratios)));
    format!("{} ({least} to {most}){ratio}", short(values[values.len() / 2]))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}
