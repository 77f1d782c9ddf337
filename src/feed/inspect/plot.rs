//! A picture of a series: mid price, spread, and exchange events a second over time.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use time::OffsetDateTime;

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
        match path.extension()?.to_str()? {
            "png" => Some(Picture::Png),
            "svg" => Some(Picture::Svg),
            _ => None,
        }
    }
}

/// Draws the series into a file.
pub fn draw(series: &Series, picture: Picture, path: &Path) -> Result<(), DrawError> {
    load_font();
    match picture {
        Picture::Png => draw_on(&BitMapBackend::new(path, SIZE).into_drawing_area(), series),
        Picture::Svg => draw_on(&SVGBackend::new(path, SIZE).into_drawing_area(), series),
    }
}

fn draw_on<B: DrawingBackend>(area: &DrawingArea<B, Shift>, series: &Series) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let seconds = series.slice_ns as f64 / 1e9;
    let points = |value: fn(&Slice) -> Option<f64>| -> Vec<(f64, f64)> {
        let numbered = (0_u32..).zip(&series.slices);
        numbered.filter_map(|(at, slice)| Some((f64::from(at) * seconds, value(slice)?))).collect()
    };
    let mid = points(|slice| slice.mid);
    let spread = points(|slice| slice.spread);
    let rate: Vec<(f64, f64)> =
        points(|slice| Some(slice.events as f64)).iter().map(|(x, events)| (*x, events / seconds)).collect();
    let parts = area.split_evenly((3, 1));
    for (part, (name, points, color, from_zero)) in parts.iter().zip([
        (format!("{}: mid price", series.symbol), mid, BLUE_LINE, false),
        ("spread".to_owned(), spread, ORANGE_LINE, true),
        ("exchange events a second".to_owned(), rate, BLUE_LINE, true),
    ]) {
        draw_line(part, series, &name, points, color, from_zero)?;
    }
    area.present()?;
    Ok(())
}

fn draw_line<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    series: &Series,
    name: &str,
    points: Vec<(f64, f64)>,
    color: RGBColor,
    from_zero: bool,
) -> Result<(), DrawError>
where
    B::ErrorType: 'static,
{
    let (least, most) = match range_of(points.iter().map(|point| point.1)) {
        (least, most) if least > most => (0.0, 1.0),
        range => range,
    };
    let margin = ((most - least) * 0.05).max(most.abs() * 1e-6).max(1e-9);
    let bottom = if from_zero { least.min(0.0) } else { least - margin };
    let end = series.slices.len() as f64 * series.slice_ns as f64 / 1e9;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(name, (FONT, 18, &TEXT))
        .x_label_area_size(30)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..end, bottom..most + margin)?;
    let digits = decimals((most + margin - bottom) / 10.0);
    chart
        .configure_mesh()
        .label_style((FONT, 13, &TEXT))
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .x_label_formatter(&|seconds: &f64| moment(series.start_ns, *seconds, end))
        .y_label_formatter(&|value: &f64| {
            if *value >= 1e5 { count(*value) } else { format!("{value:.digits$}") }
        })
        .draw()?;
    chart.draw_series(LineSeries::new(points, color.stroke_width(1)))?;
    Ok(())
}

/// Places after the point with which numbers so far apart differ.
fn decimals(step: f64) -> usize {
    (0..9).find(|places| step * 10_f64.powi(*places) >= 1.0).unwrap_or(9) as usize
}

/// The time of day in UTC; of a short recording with milliseconds, of a long one with the day.
fn moment(start_ns: u64, seconds: f64, span_seconds: f64) -> String {
    let ns = i128::from(start_ns) + (seconds * 1e9) as i128;
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(ns) else { return String::new() };
    let (hour, minute, second, millisecond) = time.to_hms_milli();
    if span_seconds < 20.0 {
        format!("{hour:02}:{minute:02}:{second:02}.{millisecond:03}")
    } else if span_seconds < 172_800.0 {
        format!("{hour:02}:{minute:02}:{second:02}")
    } else {
        format!("{} {hour:02}:{minute:02}", time.date())
    }
}
