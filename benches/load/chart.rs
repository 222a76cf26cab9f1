//! The pictures: cost against streams, and the delays.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;
use crate::contestant::Contestant;
use crate::report::Report;

const SIZE: (u32, u32) = (900, 520);

const FONT: &str = "sans-serif";

/// What one stream costs as streams grow, a line for each contestant.
pub(crate) fn cost(report: &Report, path: &Path) -> Outcome<()> {
    let lines: Vec<Line> = Contestant::ALL
        .into_iter()
        .map(|contestant| Line {
            name: contestant.name(),
            points: points(report, contestant, |run| run.percent_of_core_per_stream),
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    draw(
        path,
        "What a stream costs",
        "% of a core for each stream",
        &lines,
        0.002,
    )
}

/// The median and the 99th percentile of each delay as streams grow.
pub(crate) fn delays(report: &Report, path: &Path) -> Outcome<()> {
    let mut lines = Vec::new();
    for (name, of) in [
        ("fragment_delay", "packet to message"),
        ("end_delay", "end of part to END"),
        ("tick_lag", "tick lag"),
    ] {
        for (place, share) in [(0, "median"), (2, "99 %")] {
            let points = points(report, Contestant::Callscribe, |run| {
                run.delays_ms
                    .get(name)
                    .map_or(f64::NAN, |delay| delay[place])
            });
            let name = format!("{of}, {share}");
            let points = points.into_iter().filter(|point| point.1.is_finite());
            let points: Vec<_> = points.collect();
            lines.extend((!points.is_empty()).then_some(Line { name, points }));
        }
    }
    draw(
        path,
        "How long callscribe takes",
        "milliseconds",
        &lines,
        0.1,
    )
}

/// Points with a name; one stream is left out, for there is little to see in what it costs.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn points(
    report: &Report,
    contestant: Contestant,
    figure: impl Fn(&crate::report::Run) -> f64 + Copy,
) -> Vec<(f64, f64)> {
    let sizes = report.sizes().into_iter().filter(|&legs| legs > 1);
    sizes
        .filter_map(|legs| Some((f64::from(legs), report.spread(contestant, legs, figure)?[1])))
        .collect()
}

fn draw(path: &Path, title: &str, unit: &str, lines: &[Line], least: f64) -> Outcome<()> {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    if all().next().is_none() {
        return Ok(());
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let x = range(all().map(|point| point.0), 50.0, 1.25);
    let y = range(all().map(|point| point.1), least, 1.6);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 22))
        .margin(16)
        .margin_right(210)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            x.log_scale()
                .with_key_points(vec![100.0, 200.0, 400.0, 1000.0, 2000.0, 4000.0]),
            y.log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("one-way streams")
        .x_label_formatter(&|streams| format!("{streams:.0}"))
        .y_label_formatter(&|value| value.to_string())
        .y_desc(unit)
        .label_style((FONT, 14))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let dots = line.points.iter();
        chart.draw_series(dots.map(|&point| Circle::new(point, 4, colour.filled())))?;
        let points = line.points.iter().copied();
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    // Names beside the lines' right end run into each other; a list at the margin does not.
    for (index, line) in (0..).zip(lines) {
        let colour = Palette99::pick(usize::try_from(index)?).to_rgba();
        let y = 60 + 24 * index;
        area.draw(&PathElement::new(
            [(705, y), (727, y)],
            colour.stroke_width(3),
        ))?;
        area.draw(&Text::new(line.name.as_str(), (734, y - 7), (FONT, 14)))?;
    }
    area.present()?;
    Ok(())
}

/// From the least to the most, with some room.
fn range(values: impl Iterator<Item = f64>, least: f64, room: f64) -> Range<f64> {
    let (mut low, mut high) = (f64::MAX, least);
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    least.max(low / room)..(high * room).max(2.0 * least)
}
