//! Plots of a run, as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::outcome::{Outcome, Slice};
use crate::plot::{self, BLUE_LINE, DrawError, FONT, GREY_LINE, ORANGE_LINE, TEXT, count, range_of};

const SIZE: (u32, u32) = (900, 320);

type Drawn = Result<String, DrawError>;

fn svg(draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), DrawError>) -> Drawn {
    plot::svg(SIZE, draw)
}

fn milliseconds(ns: u64) -> f64 {
    (ns.max(1_000)) as f64 / 1e6
}

/// A latency as people write it.
fn latency(ms: &f64) -> String {
    match *ms {
        ms if ms < 1.0 => format!("{} µs", (ms * 1e3).round()),
        ms if ms < 1_000.0 => format!("{} ms", (ms * 10.0).round() / 10.0),
        ms => format!("{} s", (ms / 100.0).round() / 10.0),
    }
}

/// The latency that so many messages do not exceed: the further right, the closer to all of them.
pub(super) fn distribution(outcome: &Outcome) -> Drawn {
    let points: Vec<(f64, f64)> =
        outcome.distribution.iter().map(|(share, ns)| (1.0 / (1.0 - share), milliseconds(*ns))).collect();
    svg(|area| {
        let (least, most) = range_of(points.iter().map(|point| point.1));
        let right = points.last().map_or(10.0, |point| point.0).max(10.0);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d((1.0..right).log_scale(), (least * 0.8..most.max(least) * 1.3).log_scale())?;
        chart
            .configure_mesh()
            .label_style((FONT, 13, &TEXT))
            .light_line_style(TRANSPARENT)
            .x_desc("share of messages")
            .x_label_formatter(&|x: &f64| format!("{} %", trimmed(100.0 * (1.0 - 1.0 / x))))
            .y_label_formatter(&latency)
            .draw()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), BLUE_LINE.stroke_width(2)))?;
        Ok(())
    })
}

fn trimmed(share: f64) -> String {
    let text = format!("{share:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Messages a second over the measured time.
pub(super) fn rate(outcome: &Outcome) -> Drawn {
    let points: Vec<(f64, f64)> =
        outcome.slices.iter().map(|slice| (slice.until_seconds, slice.messages_per_second)).collect();
    svg(|area| {
        let (_, most) = range_of(points.iter().map(|point| point.1));
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..outcome.seconds, 0.0..(most * 1.1).max(1.0))?;
        chart
            .configure_mesh()
            .label_style((FONT, 13, &TEXT))
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .y_label_formatter(&|value: &f64| count(*value))
            .draw()?;
        chart.draw_series(
            AreaSeries::new(points.iter().copied(), 0.0, BLUE_LINE.mix(0.15)).border_style(BLUE_LINE),
        )?;
        Ok(())
    })
}

/// Latencies over the measured time: median, 99 %, the longest.
pub(super) fn latencies(outcome: &Outcome) -> Drawn {
    let heard: Vec<_> = outcome.slices.iter().filter(|slice| slice.max > 0).collect();
    svg(|area| {
        let (least, _) = range_of(heard.iter().map(|slice| milliseconds(slice.p50)));
        let (_, most) = range_of(heard.iter().map(|slice| milliseconds(slice.max)));
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..outcome.seconds, (least * 0.8..most * 1.3).log_scale())?;
        chart
            .configure_mesh()
            .label_style((FONT, 13, &TEXT))
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .y_label_formatter(&latency)
            .draw()?;
        let of = |latency: fn(&Slice) -> u64| -> Vec<_> {
            heard.iter().map(|slice| (slice.until_seconds, milliseconds(latency(slice)))).collect()
        };
        for (name, color, points) in [
            ("longest", GREY_LINE, of(|slice| slice.max)),
            ("99 %", ORANGE_LINE, of(|slice| slice.p99)),
            ("median", BLUE_LINE, of(|slice| slice.p50)),
        ] {
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font((FONT, 13, &TEXT))
            .draw()?;
        Ok(())
    })
}
