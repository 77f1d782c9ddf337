//! A picture of a series: mid price, spread, and exchange events a second over time.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::axis::{Marks, day};
use super::series::{Series, Slice};
use crate::plot::{BLUE_LINE, DrawError, FONT, ORANGE_LINE, TEXT, count, load_font, range_of};

const SIZE: (u32, u32) = (1_100, 900);

/// What a picture can be, by the end of its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// `.png`.
    Png,
    /// `.svg`.
    Svg,
}

impl Picture {
    /// What a file of that name is; `None` for any other end.
    pub fn of(path: &Path) -> Option<Picture> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" => Some(Picture::Png),
            "svg" => Some(Picture::Svg),
            _ => None,
        }
    }
}

/// Draws the series into a file, which must not exist yet; where that fails none is left.
pub fn draw(series: &Series, picture: Picture, path: &Path) -> Result<(), DrawError> {
    load_font();
    // What the system says, before a picture is made of it.
    File::create_new(path)?;
    let drawn = match picture {
        Picture::Png => draw_on(&BitMapBackend::new(path, SIZE).into_drawing_area(), series),
        Picture::Svg => draw_on(&SVGBackend::new(path, SIZE).into_drawing_area(), series),
    };
    let Err(error) = drawn else { return Ok(()) };
    // The library has words of its own for what the system refuses: it is asked again.
    let refused = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(&[0; 4_096]));
    // Why it is removed is what the user is told.
    let _ = fs::remove_file(path);
    Err(refused.err().map_or(error, Into::into))
}

fn draw_on<B: DrawingBackend>(area: &DrawingArea<B, Shift>, series: &Series) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let seconds = series.slice_ns as f64 / 1e9;
    let numbered = || (0_u32..).map(|at| f64::from(at) * seconds).zip(&series.slices);
    let end = series.slices.len() as f64 * seconds;
    let rate: Line = numbered().map(|(x, slice)| (x, slice.events as f64 / seconds)).collect();
    let parts = area.split_evenly((3, 1));
    let mid_name = format!("{} in {}: mid price", series.symbol, series.file);
    for (part, (name, lines, color, from_zero)) in parts.iter().zip([
        (mid_name, steps(numbered(), end, |slice| slice.mid), BLUE_LINE, false),
        ("spread".to_owned(), steps(numbered(), end, |slice| slice.spread), ORANGE_LINE, true),
        ("exchange events a second".to_owned(), vec![rate], BLUE_LINE, true),
    ]) {
        let name = if lines.is_empty() { format!("{name} (never a bid and an ask)") } else { name };
        draw_line(part, series, &name, lines, color, from_zero)?;
    }
    area.present()?;
    Ok(())
}

/// Points that are joined, from left to right.
type Line = Vec<(f64, f64)>;

/// A value that stands until it changes; no line where it is not there, or not known.
fn steps<'a>(
    slices: impl Iterator<Item = (f64, &'a Slice)>,
    end: f64,
    value: fn(&Slice) -> Option<f64>,
) -> Vec<Line> {
    let (mut lines, mut line) = (Vec::new(), Line::new());
    for (x, slice) in slices.filter(|(_, slice)| slice.events > 0 || slice.is_lost) {
        line.extend(line.last().map(|last| (x, last.1)));
        match value(slice).filter(|_| slice.events > 0) {
            Some(y) => line.push((x, y)),
            None => lines.push(std::mem::take(&mut line)),
        }
    }
    line.extend(line.last().map(|last| (end, last.1)));
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

fn draw_line<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    series: &Series,
    name: &str,
    lines: Vec<Line>,
    color: RGBColor,
    from_zero: bool,
) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    let (least, most) = match range_of(lines.iter().flatten().map(|point| point.1)) {
        (least, most) if least > most => (0.0, 1.0),
        range => range,
    };
    let base = if from_zero { least.min(0.0) } else { least };
    let margin = ((most - base) * 0.05).max(most.abs() * 1e-6).max(1e-9);
    let bottom = if from_zero { least.min(0.0) } else { least - margin };
    let (start_ns, span_ns) = (series.start_ns, series.slices.len() as u64 * series.slice_ns);
    let days = match (day(start_ns), day(start_ns.saturating_add(span_ns))) {
        (first, last) if first == last => format!("UTC, {first}"),
        (first, last) => format!("UTC, {first} to {last}"),
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(name, (FONT, 18, &TEXT))
        .x_label_area_size(45)
        .y_label_area_size(90)
        .build_cartesian_2d(TimeAxis::new(start_ns, span_ns), bottom..most + margin)?;
    let digits = decimals((most + margin - bottom) / 10.0);
    chart
        .configure_mesh()
        .label_style((FONT, 13, &TEXT))
        .light_line_style(TRANSPARENT)
        .axis_desc_style((FONT, 13, &TEXT))
        .x_desc(days)
        .y_label_formatter(&|value: &f64| {
            if *value >= 1e5 { count(*value) } else { format!("{value:.digits$}") }
        })
        .draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line, color.stroke_width(1)))?;
    }
    Ok(())
}

/// Seconds from a moment on, with marks at round times.
struct TimeAxis {
    seconds: RangedCoordf64,
    marks: Vec<(f64, String)>,
}

impl TimeAxis {
    fn new(start_ns: u64, span_ns: u64) -> TimeAxis {
        let marks = Marks::of(start_ns, start_ns.saturating_add(span_ns));
        let at = |time_ns: &u64| ((time_ns - start_ns) as f64 / 1e9, marks.text(*time_ns));
        let seconds = (0.0..span_ns as f64 / 1e9).into();
        TimeAxis { seconds, marks: marks.times_ns.iter().map(at).collect() }
    }
}

impl Ranged for TimeAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.seconds.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks.iter().map(|mark| mark.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.seconds.range()
    }
}

impl ValueFormatter<f64> for TimeAxis {
    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|mark| mark.0.total_cmp(value).is_eq());
        mark.map_or_else(String::new, |mark| mark.1.clone())
    }
}

/// Places after the point with which numbers so far apart differ.
fn decimals(step: f64) -> usize {
    (0..9).find(|places| step * 10_f64.powi(*places) >= 1.0).unwrap_or(9) as usize
}
