//! The files of the page, embedded in the program.

use crate::typeface;

/// The page.
pub const PAGE: &str = include_str!("assets/index.html");

/// A file of the page.
pub struct Asset {
    /// Name in the address, below `/assets/`.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: &'static [u8],
}

macro_rules! text {
    ($name:literal, $media_type:literal) => {
        Asset {
            name: $name,
            media_type: concat!($media_type, "; charset=utf-8"),
            content: include_bytes!(concat!("assets/", $name)),
        }
    };
}

/// Every file.
pub const ASSETS: &[Asset] = &[
    text!("style.css", "text/css"),
    text!("icon.svg", "image/svg+xml"),
    text!("app.js", "text/javascript"),
    text!("api.js", "text/javascript"),
    text!("canvas.js", "text/javascript"),
    text!("dialogs.js", "text/javascript"),
    text!("dom.js", "text/javascript"),
    text!("edit.js", "text/javascript"),
    text!("geometry.js", "text/javascript"),
    text!("keys.js", "text/javascript"),
    text!("labelme.js", "text/javascript"),
    text!("panel.js", "text/javascript"),
    text!("queue.js", "text/javascript"),
    text!("texts.js", "text/javascript"),
    Asset { name: "regular.otf", media_type: "font/otf", content: typeface::REGULAR },
    Asset { name: "bold.otf", media_type: "font/otf", content: typeface::BOLD },
];

/// The file of this name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}
