//! The pictures: cost against legs, and the delays.

use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;
use crate::contestant::Contestant;
use crate::report::Run;

const SIZE: (u32, u32) = (900, 520);

/// What one stream costs as streams grow, a line for each contestant.
pub(crate) fn cost(runs: &[Run], path: &Path) -> Outcome<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let full = runs
        .iter()
        .filter(|run| run.speaking == run.legs && run.legs > 1);
    let full: Vec<&Run> = full.collect();
    let most = |value: fn(&Run) -> f64| full.iter().map(|run| value(run)).fold(0.0, f64::max);
    let right = most(|run| f64::from(run.legs)).max(10.0);
    let top = most(|run| run.percent_of_core).max(0.01);
    let mut chart = ChartBuilder::on(&area)
        .caption("What a stream costs", ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (50.0..right * 1.1).log_scale(),
            (0.002..top * 1.4).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("one-way streams")
        .y_desc("% of a core for each stream")
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (index, contestant) in Contestant::ALL.into_iter().enumerate() {
        let points = full.iter().filter(|run| run.contestant == contestant);
        let points: Vec<_> = points
            .map(|run| (f64::from(run.legs), run.percent_of_core))
            .collect();
        let colour = Palette99::pick(index).to_rgba();
        let dots = points
            .iter()
            .map(|&point| Circle::new(point, 4, colour.filled()));
        chart.draw_series(dots)?;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(contestant.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The median, 90th and 99th percentile of each delay as legs grow.
pub(crate) fn delays(runs: &[Run], path: &Path) -> Outcome<()> {
    let ours = runs
        .iter()
        .filter(|run| run.contestant == Contestant::Callscribe);
    let ours: Vec<&Run> = ours.filter(|run| run.legs > 1).collect();
    let names: std::collections::BTreeSet<&String> =
        ours.iter().flat_map(|run| run.delays_ms.keys()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let all = ours.iter().flat_map(|run| run.delays_ms.values().flatten());
    let top = all.fold(1.0_f64, |most, &delay| most.max(delay));
    let right = ours
        .iter()
        .map(|run| f64::from(run.legs))
        .fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Delays: median, 90th and 99th percentile",
            ("sans-serif", 22),
        )
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (50.0..right * 1.1).log_scale(),
            (0.1..top * 1.6).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("legs")
        .y_desc("milliseconds")
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (index, name) in names.into_iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let points = ours
            .iter()
            .filter_map(|run| Some((f64::from(run.legs), *run.delays_ms.get(name)?)));
        let points: Vec<(f64, [f64; 3])> = points.collect();
        let bars = points.iter().map(|&(legs, [median, ninety, most])| {
            ErrorBar::new_vertical(legs, median, ninety, most, colour.filled(), 12)
        });
        chart
            .draw_series(bars)?
            .label(name.replace('_', " "))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
