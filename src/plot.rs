//! What all pictures have: a font, which comes with the program, colours, and numbers as people write them.

use std::error::Error;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// Why a picture cannot be drawn.
pub type DrawError = Box<dyn Error + Send + Sync>;

/// The name of the font.
pub const FONT: &str = "sans-serif";
/// The first line.
pub const BLUE_LINE: RGBColor = RGBColor(31, 96, 196);
/// The second.
pub const ORANGE_LINE: RGBColor = RGBColor(214, 98, 20);
/// One that is not the point.
pub const GREY_LINE: RGBColor = RGBColor(150, 150, 150);
/// Text.
pub const TEXT: RGBColor = RGBColor(70, 70, 70);

/// Makes the font known to the plotting library; nothing is drawn before.
pub fn load_font() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let font = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
        debug_assert!(font.is_ok(), "the font is one");
    });
}

/// A picture of that size as SVG.
pub fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    load_font();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    Ok(text)
}

/// A count as people write it: `1.44 M`, `26.7 k`, `730`.
pub fn count(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2} G", value / 1e9),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value => format!("{}", value.round()),
    }
}

/// The least and the greatest of some values.
pub fn range_of(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)))
}
