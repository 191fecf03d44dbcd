//! Every reader of files of others on mutated files: each ends with a value or an error, in bounded time and memory.
//!
//! `cargo test` runs some inputs per reader. `make fuzz` sets `CARPUS_FUZZ_SECONDS` and runs each that long. The file that is
//! being read lies in `target/tmp/fuzz`; one that fails stays there, and its path and the seed are printed.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use ::image::{DynamicImage, ImageFormat};
use carpus::audit::FindingRow;
use carpus::bones::Bone;
use carpus::config::chain::{ChainConfig, words};
use carpus::dataset::annotation::Document;
use carpus::dataset::corrections::Corrections;
use carpus::dataset::{Dataset, annotation, image, metadata};
use carpus::ensemble::EnsembleList;
use carpus::geometry::Size;
use carpus::mask::submission;
use carpus::probability::decision::DecisionSettings;
use carpus::probability::{Bits, ImageProbabilities, MapBuilder};
use carpus::tables::{self, BoneRow, FoldRow, ImageRow, PatientRow, ProblemRow};
use carpus::{clean, features, probability, runs, scores, splits};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::python;

/// Largest input, bytes.
const MOST: usize = 100_000;
/// Most processor time for one input, compiled without optimisation on a slow machine, and most time at all, after which the
/// reader is taken to hang.
const TIME: Duration = Duration::from_secs(10);
const HANGS: Duration = Duration::from_secs(120);
/// Most memory of a reader of text, bytes: its values may take some hundred times the text.
const TEXT_MEMORY: usize = 64 << 20;
/// The same of a reader of images: what decoding may take, twice, for the levels and what they are made from.
const IMAGE_MEMORY: usize = 2 * image::MAX_DECODED as usize + (64 << 20);

/// Counts the memory of each thread and of all. With libtorch the allocator is the binary's, and memory is not measured.
#[cfg(not(feature = "torch"))]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

    thread_local! {
        static NOW: Cell<isize> = const { Cell::new(0) };
        static PEAK: Cell<isize> = const { Cell::new(0) };
    }

    static ALL_NOW: AtomicIsize = AtomicIsize::new(0);
    static ALL_PEAK: AtomicIsize = AtomicIsize::new(0);

    struct Counting;

    fn add(bytes: isize) {
        let now = NOW.get() + bytes;
        NOW.set(now);
        PEAK.set(PEAK.get().max(now));
        let now = ALL_NOW.fetch_add(bytes, Relaxed) + bytes;
        ALL_PEAK.fetch_max(now, Relaxed);
    }

    // SAFETY: each call goes to the system's allocator as it is.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            add(layout.size() as isize);
            unsafe { System.alloc(layout) }
        }
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            add(layout.size() as isize);
            unsafe { System.alloc_zeroed(layout) }
        }
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            add(-(layout.size() as isize));
            unsafe { System.dealloc(at, layout) }
        }
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // Old and new may be there together.
            add(size as isize);
            add(-(layout.size() as isize));
            unsafe { System.realloc(at, layout, size) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    /// Most memory that `of` takes in this thread; in all threads where it runs alone.
    pub fn peak(is_alone: bool, of: impl FnOnce()) -> usize {
        let (before, all_before) = (NOW.get(), ALL_NOW.load(Relaxed));
        PEAK.set(before);
        ALL_PEAK.store(all_before, Relaxed);
        of();
        let all = ALL_PEAK.load(Relaxed) - all_before;
        (if is_alone { all } else { PEAK.get() - before }).max(0) as usize
    }
}

#[cfg(feature = "torch")]
mod counting {
    pub fn peak(_: bool, of: impl FnOnce()) -> usize {
        of();
        0
    }
}

/// A reader and what it is given.
struct Target<'a> {
    /// Name of the file.
    file: &'a str,
    /// Inputs in `cargo test`.
    inputs: usize,
    corpus: Vec<Vec<u8>>,
    /// Mutates one of the corpus.
    mutate: fn(&mut ChaCha8Rng, &[Vec<u8>]) -> Vec<u8>,
    memory: usize,
    read: fn(&Path),
}

/// Processor time of this thread, where the system reports it; else the time of the clock.
fn processor_time(started: Instant) -> Duration {
    let printed = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = printed.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| started.elapsed(), Duration::from_nanos)
}

impl Target<'_> {
    fn run(self) {
        let seed = python::seed();
        let seconds = std::env::var("CARPUS_FUZZ_SECONDS").ok().map(|s| s.parse::<u64>().expect("whole seconds"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(self.file.replace('.', "-"));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(self.file);
        let kept = folder.with_file_name(format!("seed{seed}-{}", self.file));
        let (send, inputs) = mpsc::channel::<PathBuf>();
        let (done, results) = mpsc::channel::<Result<(Duration, usize), String>>();
        let read = self.read;
        std::thread::spawn(move || {
            // Parallel parts run in this thread too, so that their memory and time are seen.
            let _pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
            for path in inputs {
                let started = Instant::now();
                let before = processor_time(started);
                let mut panicked = None;
                let memory = counting::peak(seconds.is_some(), || {
                    panicked = catch_unwind(AssertUnwindSafe(|| read(&path))).err()
                });
                let time = processor_time(started).saturating_sub(before);
                let text = |p: Box<dyn std::any::Any + Send>| match p.downcast::<String>() {
                    Ok(text) => *text,
                    Err(other) => other.downcast_ref::<&str>().unwrap_or(&"").to_string(),
                };
                let result = match panicked {
                    Some(panic) => Err(format!("panicked: {}", text(panic))),
                    None => Ok((time, memory)),
                };
                if done.send(result).is_err() {
                    return;
                }
            }
        });
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let started = Instant::now();
        let (mut count, mut slowest, mut largest) = (0, Duration::ZERO, 0);
        while seconds.map_or(count < self.inputs, |s| started.elapsed().as_secs() < s) {
            // The corpus itself first.
            let input = self.corpus.get(count).cloned().unwrap_or_else(|| (self.mutate)(&mut rng, &self.corpus));
            fs::write(&path, &input).unwrap();
            send.send(path.clone()).unwrap();
            let failed = match results.recv_timeout(HANGS) {
                Ok(Ok((time, memory))) => {
                    (slowest, largest) = (slowest.max(time), largest.max(memory));
                    if time > TIME {
                        Some(format!("took {time:?}"))
                    } else {
                        (memory > self.memory).then(|| format!("took {memory} bytes"))
                    }
                }
                Ok(Err(reason)) => Some(reason),
                Err(_) => Some(format!("did not end in {HANGS:?}")),
            };
            if let Some(reason) = failed {
                fs::copy(&path, &kept).unwrap();
                panic!("{reason}\ninput {count} of CARPUS_SEED={seed}, {} bytes: {}", input.len(), kept.display());
            }
            count += 1;
        }
        fs::remove_file(&path).unwrap();
        println!("{}: {count} inputs, slowest {slowest:?}, most memory {} KiB", self.file, largest >> 10);
    }
}

/// One to four random changes of one of the corpus.
fn mutated(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(1..=4) {
        change(rng, &mut bytes, corpus);
        bytes.truncate(MOST);
    }
    bytes
}

/// A random part, of at most `most` bytes.
fn part(rng: &mut ChaCha8Rng, len: usize, most: usize) -> std::ops::Range<usize> {
    let from = rng.random_range(0..=len);
    from..from + rng.random_range(0..=most.min(len - from))
}

fn change(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    const EXTREME: [&str; 14] = [
        "0",
        "-1",
        "2147483648",
        "4294967296",
        "9223372036854775808",
        "18446744073709551615",
        "1e308",
        "-1e308",
        "1e-320",
        "nan",
        "inf",
        "999999",
        "1e999",
        "0.5",
    ];
    let at = |rng: &mut ChaCha8Rng, bytes: &[u8]| rng.random_range(0..bytes.len().max(1)).min(bytes.len());
    match rng.random_range(0..9) {
        0 if !bytes.is_empty() => {
            let at = at(rng, bytes);
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        1 => {
            let at = at(rng, bytes);
            let new: Vec<u8> = (0..rng.random_range(1..9)).map(|_| rng.random()).collect();
            bytes.splice(at..at, new);
        }
        2 => drop(bytes.drain(part(rng, bytes.len(), 64))),
        3 => {
            let copy = bytes[part(rng, bytes.len(), 400)].to_vec();
            let at = at(rng, bytes);
            bytes.splice(at..at, copy);
        }
        4 => bytes.truncate(at(rng, bytes)),
        5 => {
            let other = corpus.choose(rng).unwrap();
            let tail = other[rng.random_range(0..=other.len())..].to_vec();
            bytes.truncate(at(rng, bytes));
            bytes.extend(tail);
        }
        6 => {
            // A number in text.
            let digits: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
            let Some(&from) = digits.choose(rng) else { return };
            let long = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
            bytes.splice(from..from + long, EXTREME.choose(rng).unwrap().bytes());
        }
        7 => {
            // A number in binary, either way round.
            let value =
                *[0u64, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 63, i32::MAX as u64, i64::MAX as u64].choose(rng).unwrap();
            let size = *[1usize, 2, 4, 8].choose(rng).unwrap();
            let at = at(rng, bytes);
            let number = if rng.random() {
                value.to_le_bytes()[..size].to_vec()
            } else {
                value.to_be_bytes()[8 - size..].to_vec()
            };
            bytes.splice(at..(at + size).min(bytes.len()), number);
        }
        _ => {
            let chunk = bytes[part(rng, bytes.len(), 64)].to_vec();
            let times = rng.random_range(2..2000).min(MOST / chunk.len().max(1));
            let at = at(rng, bytes);
            bytes.splice(at..at, chunk.repeat(times));
        }
    }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|t| t.as_bytes().to_vec()).into()
}

/// Small pictures of every kind that a format has.
fn pictures(format: ImageFormat) -> Vec<Vec<u8>> {
    let colour =
        ::image::RgbaImage::from_fn(19, 13, |x, y| ::image::Rgba([(x * 13) as u8, (y * 19) as u8, (x ^ y) as u8, 200]));
    let colour = DynamicImage::from(colour);
    let deep =
        ::image::ImageBuffer::<::image::Luma<u16>, _>::from_fn(19, 13, |x, y| ::image::Luma([(x * 3000 + y) as u16]));
    let mut kinds = vec![colour.to_luma8().into(), colour.to_rgb8().into()];
    if format != ImageFormat::Jpeg {
        kinds.extend([colour.to_rgb16().into(), deep.into(), colour]);
    }
    let encode = |picture: &DynamicImage| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    kinds.iter().map(encode).collect()
}

fn read_image(path: &Path) {
    let _ = image::dimensions(path);
    if let Ok(read) = image::read(path) {
        let (width, height) = read.pixels.dimensions();
        assert!(
            width.max(height) <= image::MAX_SIDE && read.pixels.into_eight_bit().len() == (width * height) as usize
        );
    }
}

/// Half of the time with checksums made right again, so that a change gets past them.
fn mutated_png(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = mutated(rng, corpus);
    if rng.random() {
        return bytes;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let end = at + 8 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(chunk) = bytes.get(at + 4..end).filter(|_| end + 4 <= bytes.len()) else { break };
        let checksum = crc32fast::hash(chunk).to_be_bytes();
        bytes[end..end + 4].copy_from_slice(&checksum);
        at = end + 4;
    }
    bytes
}

#[test]
fn png() {
    let corpus = pictures(ImageFormat::Png);
    Target { file: "a.png", inputs: 600, corpus, mutate: mutated_png, memory: IMAGE_MEMORY, read: read_image }.run();
}

#[test]
fn jpeg() {
    let corpus = pictures(ImageFormat::Jpeg);
    Target { file: "a.jpg", inputs: 600, corpus, mutate: mutated, memory: IMAGE_MEMORY, read: read_image }.run();
}

#[test]
fn tiff() {
    let corpus = pictures(ImageFormat::Tiff);
    Target { file: "a.tif", inputs: 600, corpus, mutate: mutated, memory: IMAGE_MEMORY, read: read_image }.run();
}

#[test]
fn dicom() {
    // Explicit little endian, 4 x 3 pixels of 16 bits; lengths are checked by the reader.
    let element = |group: u16, number: u16, kind: &str, value: &[u8]| {
        let long = ["OW", "OB", "UN"].contains(&kind);
        let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
        bytes.extend(kind.as_bytes());
        if long {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    };
    let short = |number: u16, value: u16| element(0x28, number, "US", &value.to_le_bytes());
    let file = |white: &str, bits: u16, syntax: &[u8]| {
        let meta = [element(2, 1, "OB", &[0, 1]), element(2, 0x10, "UI", syntax)].concat();
        let length = element(2, 0, "UL", &(meta.len() as u32).to_le_bytes());
        let mut bytes = vec![0u8; 128];
        bytes.extend(b"DICM");
        bytes.extend([length, meta].concat());
        bytes.extend([short(2, 1), element(0x28, 4, "CS", white.as_bytes()), short(0x10, 3), short(0x11, 4)].concat());
        bytes.extend(element(0x28, 0x30, "DS", b"0.14\\0.14 "));
        bytes.extend([short(0x100, 16), short(0x101, bits), short(0x102, bits - 1), short(0x103, 0)].concat());
        bytes.extend(element(0x7fe0, 0x10, "OW", &(0..24).collect::<Vec<u8>>()));
        bytes
    };
    let explicit = b"1.2.840.10008.1.2.1\0";
    let corpus = vec![file("MONOCHROME2 ", 12, explicit), file("MONOCHROME1 ", 16, explicit)];
    Target { file: "a.dcm", inputs: 400, corpus, mutate: mutated, memory: IMAGE_MEMORY, read: read_image }.run();
}

#[test]
fn annotations() {
    let corpus = texts([
        r#"{"annotations":[{"id":"1","type":"poly_seg","attributes":{},"points":[[2,2],[20,2],[20,30],[5,9]],"label":"Ulna"},{"type":"poly_seg","points":[[1.5,2],[-3,1e2],[9,9]],"label":"finger-1"}],"filename":"a.png","metadata":{"width":64,"height":64}}"#,
        r#"{"filename":null,"annotations":[{"type":"poly_seg","label":"ring","points":[[NaN,1],[2,Infinity]]},[],{},7,"x",{"label":3,"points":{"a":[1]}}]}"#,
        "\u{feff}{\"annotations\":[]}",
    ]);
    let read = |path: &Path| {
        let Ok(bytes) = annotation::read_bytes(path) else { return };
        let Ok(read) = annotation::parse(&bytes, path, "ID001/a.json") else { return };
        let read = read.content;
        read.masks(64, 64);
        read.shapes.iter().for_each(|shape| {
            features::crossings(&shape.points);
        });
        if let Ok(document) = Document::parse(&bytes, path) {
            document.with(&read, (64, 64));
        }
    };
    Target { file: "a.json", inputs: 1000, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

/// Reads everything of the data in the folder of a file, next to which pictures are put.
fn read_folder_of(path: &Path) {
    let folder = path.parent().unwrap();
    for picture in [folder.join("a.png"), folder.join("images/a.png"), path.with_extension("png")] {
        if !picture.exists() {
            fs::create_dir_all(picture.parent().unwrap()).unwrap();
            ::image::GrayImage::new(20, 10).save(picture).unwrap();
        }
    }
    let Ok(dataset) = Dataset::open(folder) else { return };
    for entry in dataset.images() {
        if let Ok(Some(read)) = dataset.annotation(entry) {
            read.annotation.masks(20, 10);
        }
    }
}

#[test]
fn coco() {
    let corpus = texts([
        r#"{"images":[{"id":1,"file_name":"a.png","width":20,"height":10,"carpus":{"patient_id":"001","side":"L","is_annotated":true}}],"categories":[{"id":29,"name":"Ulna"}],"annotations":[{"id":1,"image_id":1,"category_id":29,"area":4,"iscrowd":0,"bbox":[1,1,2,2],"segmentation":{"size":[10,20],"counts":[11,2,8,2,177]},"carpus":{"shapes":[{"index":0,"label":"Ulna","points":[[1,1],[2,1],[2,2],[1,2]]}]}}]}"#,
        r#"{"categories":[{"id":"x","name":"Radius"}],"images":[{"id":"i","file_name":"images/a.png","width":20,"height":10}],"annotations":[{"image_id":"i","category_id":"x","segmentation":{"size":[10,20],"counts":";289a5"}},{"image_id":"i","category_id":"x","segmentation":[[1,1,9.5,1,9,9],[3,3,4,4]]}]}"#,
    ]);
    let read = read_folder_of;
    Target { file: "train.json", inputs: 500, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn labelme() {
    let corpus = texts([
        r#"{"version":"5.5.0","flags":{},"shapes":[{"label":"Ulna","points":[[1,1],[9,1.5],[9,9]],"group_id":null,"shape_type":"polygon","flags":{}},{"label":"Radius","points":[[2,2],[5,5]],"shape_type":"rectangle"}],"imagePath":"b.png","imageData":null,"imageHeight":10,"imageWidth":20}"#,
        r#"{"shapes":[{"label":"Ulna","points":[[1,1],[3,3]],"shape_type":"mask","mask":"iVBORw0KGgoAAAANSUhEUgAAAAMAAAADAQAAAABJEs2RAAAAD0lEQVR4nGN4wPCAAUIAAA8EAsHzCmmkAAAAAElFTkSuQmCC"}],"imagePath":"b.png","imageHeight":10,"imageWidth":20}"#,
    ]);
    let read = read_folder_of;
    Target { file: "b.json", inputs: 500, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn cvat() {
    let corpus = texts([
        r#"<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><labels><label><name>Ulna</name></label></labels></task></meta><image id="0" name="a.png" subset="train" width="20" height="10"><polygon label="Ulna" points="1.00,1.00;9.00,1.50;9.00,9.00" z_order="0"/><mask label="Radius" rle="1, 3, 2, 2" left="2" top="3" width="4" height="2"/><box label="Ulna" xtl="1" ytl="1" xbr="4" ybr="3"/></image></annotations>"#,
        "<annotations><image id=\"0\" name=\"a.png\"/></annotations>",
    ]);
    let read = read_folder_of;
    Target { file: "annotations.xml", inputs: 500, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn corrections() {
    let corpus = texts([
        r#"{"version":2,"image_id":"a_R","action":{"do":"exclude"},"reason":"ring","author":"kim","time":"2026-11-29T10:00:00Z"}
{"version":2,"patient_id":"040","action":{"do":"set-metadata","field":"age","value":41},"reason":"","author":"kim","time":"2026-11-29"}
{"version":2,"image_id":"a_R","action":{"do":"undo","decision":"0123456789ab"},"reason":"","author":"kim","time":"2026-11-29"}
"#,
        r#"{"version":2,"image_id":"a_R","annotation_sha256":"00","action":{"do":"replace","shape":{"index":3,"label":"Ulna"},"points":[[1,2],[3,4],[5,6]]},"reason":"","author":"k","time":"2026-11-29"}
{"version":2,"image_id":"a_R","action":{"do":"note","point":[120,340]},"reason":"x","author":"k","time":"2026-11-29"}
{"version":1,"image_id":"a"}
"#,
    ]);
    let read = |path: &Path| {
        let Ok(read) = Corrections::read_any(path) else { return };
        let mut annotation = annotation::Annotation::default();
        read.apply("a_R", Some("00"), &mut annotation);
        read.contradictions();
        read.excludes("a_R", "040");
    };
    Target { file: "corrections.jsonl", inputs: 800, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn submissions() {
    let row = |class: &str| format!("a.png,{class},1 2 66 3 4000 97\n");
    let whole: String = carpus::bones::NAMES.iter().map(|n| row(n)).collect();
    let mut corpus = texts(["rle,class,image_name\n,Ulna,\"a.png\"\n", "image_name,class,rle\n"]);
    corpus.extend([format!("image_name,class,rle\n{whole}").into_bytes(), whole.into_bytes()]);
    static DATA: LazyLock<Dataset> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join("data-of-submission");
        fs::create_dir_all(&folder).unwrap();
        ::image::GrayImage::new(64, 64).save(folder.join("a.png")).unwrap();
        Dataset::open(&folder).unwrap()
    });
    let read = |path: &Path| {
        drop(submission::read(path, 64, 64));
        drop(clean::restore(path, &[]));
        let expected: Vec<_> = DATA.images().iter().collect();
        drop(scores::check_submission(&DATA, &expected, path, None));
    };
    LazyLock::force(&DATA);
    Target { file: "submission.csv", inputs: 600, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn tables_as_csv() {
    let bones = carpus::bones::NAMES.join(",");
    let dice = vec!["0.5"; carpus::bones::COUNT + 1].join(",");
    let mut corpus = texts([
        "image_id,patient_id,stratum,fold\na,001,F,0\nb,002,\"M, x\",1\n",
        "image_id,weight\na,1.5\nb,2\n",
        "stage,epoch,step,lr,valid_dice\nmain,1,10,1e-3,0.5\n",
    ]);
    corpus.push(format!("image_id,{bones},mean\na,{dice}\n").into_bytes());
    let read = |path: &Path| {
        drop(tables::read::<FoldRow>(path));
        drop(tables::read::<FindingRow>(path));
        drop(splits::read_weights(path));
        drop(scores::read_scores(path));
        drop(scores::DiceTable::read(path));
        // The log of a run.
        fs::write(path.with_file_name("config.toml"), "").unwrap();
        fs::copy(path, path.with_file_name("metrics.csv")).unwrap();
        drop(runs::Run::read(path.parent().unwrap()));
    };
    Target { file: "table.csv", inputs: 300, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

const PATIENTS: [&str; 3] = [
    "ID,나이,성별,키(신장),체중(kg),Unnamed: 5\n001,31,남,172,65,\nID002,\"1,8\",_x0008_여,1.6m,52kg,note\n",
    "sep=;\nPatientID;PatientAge;PatientSex;PatientSize;PatientWeight\n=\"003\";031Y;F;1.60;52\n",
    "\u{feff}id\tage\tsex\theight_cm\tweight_kg\n1\t40\tM\t160\t60\n",
];

#[test]
fn metadata_as_csv() {
    let read = |path: &Path| drop(metadata::read(path, "meta_data.csv"));
    let corpus = texts(PATIENTS);
    Target { file: "meta_data.csv", inputs: 150, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

/// Mutates a part of a workbook and packs it again, mostly.
fn mutated_workbook(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    if rng.random_bool(0.2) {
        return mutated(rng, corpus);
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(corpus.choose(rng).unwrap())).unwrap();
    let mut parts: Vec<(String, Vec<u8>)> = (0..archive.len())
        .map(|i| {
            let mut part = archive.by_index(i).unwrap();
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).unwrap();
            (part.name().to_owned(), bytes)
        })
        .collect();
    let all: Vec<Vec<u8>> = parts.iter().map(|p| p.1.clone()).collect();
    for _ in 0..rng.random_range(1..=3) {
        let chosen = rng.random_range(0..parts.len());
        change(rng, &mut parts[chosen].1, &all);
    }
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in &parts {
        out.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(&bytes[..bytes.len().min(MOST)]).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn workbooks() {
    let mut book = rust_xlsxwriter::Workbook::new();
    for (name, rows) in ["ID", "other"].into_iter().zip(PATIENTS) {
        let sheet = book.add_worksheet();
        sheet.set_name(name).unwrap();
        for (r, row) in (0..).zip(rows.lines()) {
            for (c, cell) in (0..).zip(row.split([',', ';'])) {
                match cell.parse::<f64>() {
                    Ok(number) => sheet.write_number(r, c, number).unwrap(),
                    Err(_) => sheet.write_string(r, c, cell).unwrap(),
                };
            }
        }
        sheet.write_formula(9, 0, "=1/0").unwrap();
        sheet.write_boolean(9, 1, true).unwrap();
    }
    let read = |path: &Path| drop(metadata::read(path, "meta_data.xlsx"));
    let corpus = vec![book.save_to_buffer().unwrap()];
    Target { file: "meta_data.xlsx", inputs: 150, corpus, mutate: mutated_workbook, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn configurations() {
    let mut corpus = texts([
        "data = 'd'\nwork = 'w'\ncorrections = \"c\"\n[scan]\ncsv = true\n[split]\nby = \"sex,rotated\"\nfolds = 5\n[[train]]\nset = ['a=1', 'b=2']\nfold = 0\n",
        "a = [1, 2.5, [3], {b = 1979-05-27T07:32:00Z}]\n'x y'.z = '''\nmulti'''\n",
    ]);
    for file in ["demo.toml", "train/demo.toml"] {
        corpus.push(fs::read(python::root().join("configs").join(file)).unwrap());
    }
    let read = |path: &Path| {
        if let Ok(config) = ChainConfig::read(path) {
            for flags in config.train.iter().chain(&config.split).chain(&config.scan) {
                let _ = words(path, "split", flags);
            }
        }
        #[cfg(feature = "torch")]
        if let Ok(config) = carpus::train::TrainConfig::load(path, &[]) {
            let _ = (config.stages(path), config.to_toml(), config.to_commented_toml());
        }
    };
    Target { file: "config.toml", inputs: 400, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn decisions() {
    let corpus = texts([
        "[decision]\nmethod = 'threshold'\nthreshold = { Pisiform = 0.4, carpal = 0.45, default = 0.5 }\nhysteresis = 0.2\nfill-holes = true\nmin-area = 'auto'\ncomponents = 2\n",
        "[decision]\nmethod = 'ranked'\ntriplet = { top = 0.75, pixels = 3 }\nmin-area = { Ulna = 5, default = 0 }\ncomponents = 'largest'\n",
    ]);
    let read = |path: &Path| {
        let Ok(settings) = DecisionSettings::read(path) else { return };
        let again = tempfile::NamedTempFile::new().unwrap();
        fs::write(again.path(), settings.to_toml()).unwrap();
        assert_eq!(DecisionSettings::read(again.path()).unwrap(), settings);
        let settings = settings.with_least_areas(&[2.0; carpus::bones::COUNT]);
        let mut map = MapBuilder::new(Size { width: 9, height: 7 });
        (0..7u8)
            .for_each(|y| map.push_row(&[0.0, 0.3, 0.6, 0.9, 0.1, 1.0, 0.8, 0.5, 0.0].map(|p| p * f32::from(y) / 6.0)));
        let map = map.finish();
        Bone::all().for_each(|bone| drop(settings.mask(bone, &map)));
    };
    Target { file: "decision.toml", inputs: 400, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

#[test]
fn probabilities() {
    let mut map = MapBuilder::new(Size { width: 9, height: 7 });
    (0..7u8).for_each(|y| map.push_row(&[0.0, 0.3, 0.6, 0.9, 0.0, 1.0, 0.8, 0.5, 0.0].map(|p| p * f32::from(y) / 6.0)));
    let image = ImageProbabilities { image_name: "a.png".into(), maps: vec![map.finish(); carpus::bones::COUNT] };
    let folder = tempfile::tempdir().unwrap();
    let corpus = [Bits::Eight, Bits::Sixteen].map(|bits| {
        let path = folder.path().join("a.probabilities");
        probability::write(&path, &image, bits).unwrap();
        fs::read(&path).unwrap()
    });
    let read = |path: &Path| drop(probability::read(path));
    let corpus = corpus.to_vec();
    Target { file: "a.probabilities", inputs: 600, corpus, mutate: mutated, memory: IMAGE_MEMORY, read }.run();
}

#[test]
fn ensembles() {
    let corpus = texts([
        "[[ensemble]]\nname = 'folds'\nmethod = 'soft'\nmembers = ['a', 'b']\nweights = [1.0, 2]\n[[ensemble]]\nname = 'final'\nmethod = 'hard'\nmembers = ['folds', 'c.csv']\nat-least = 1\n",
        "[[ensemble]]\nname = 'x'\nmethod = 'logit'\nmembers = ['a', { run = 'runs/b', window = 64, overlap = 0.5, weights = 'gaussian', scale = 1.5, tta = 'flip' }]\nclass-weights = { carpal = [0, 1], Ulna = [2, 1.5] }\n",
    ]);
    let read = |path: &Path| {
        let Ok(list) = EnsembleList::read(path) else { return };
        let again = tempfile::NamedTempFile::new().unwrap();
        fs::write(again.path(), list.to_toml()).unwrap();
        assert_eq!(EnsembleList::read(again.path()).unwrap(), list);
        for ensemble in &list.ensemble {
            Bone::all().for_each(|bone| assert_eq!(ensemble.weights_of(bone).len(), ensemble.members.len()));
            ensemble.members.iter().for_each(|member| drop((member.kind(), member.run().arguments())));
        }
    };
    Target { file: "ensembles.toml", inputs: 400, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}

/// Mutates the footer or what comes before it. The checksum is not made right again: who writes one chooses what the reader of
/// Parquet is given, and that takes the numbers in it on trust.
fn mutated_parquet(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let whole = corpus.choose(rng).unwrap();
    let end = whole.len() - 8;
    let footer = end - u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
    let (mut data, mut meta, tail) = (whole[..footer].to_vec(), whole[footer..end].to_vec(), &whole[end..]);
    match rng.random_range(0..3) {
        0 => return mutated(rng, corpus),
        1 => change(rng, &mut data, corpus),
        _ => change(rng, &mut meta, corpus),
    }
    // The footer's length is right again.
    [&data[..], &meta, &(meta.len() as u32).to_le_bytes(), &tail[4..]].concat()
}

#[test]
fn parquet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let images: Vec<ImageRow> = (0..3)
        .map(|i| ImageRow {
            image_id: format!("image{i}"),
            angle_deg: Some(f64::from(i)),
            usable: true,
            ..Default::default()
        })
        .collect();
    tables::write_parquet(&path, &images).unwrap();
    let mut corpus = vec![fs::read(&path).unwrap()];
    tables::write_parquet(&path, &[FoldRow::default(), FoldRow { image_id: "a".into(), ..FoldRow::default() }])
        .unwrap();
    corpus.push(fs::read(&path).unwrap());
    let read = |path: &Path| {
        drop(tables::read::<ImageRow>(path));
        drop(tables::read::<FoldRow>(path));
        drop(tables::read::<BoneRow>(path));
        drop(tables::read::<PatientRow>(path));
        drop(tables::read::<ProblemRow>(path));
    };
    Target { file: "t.parquet", inputs: 60, corpus, mutate: mutated_parquet, memory: TEXT_MEMORY, read }.run();
}

#[cfg(feature = "torch")]
#[test]
fn safetensors() {
    use tch::{Device, Kind, Tensor};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let tensors = [
        ("conv.weight".to_owned(), Tensor::ones([4, 3, 3, 3], (Kind::Float, Device::Cpu))),
        ("step".to_owned(), Tensor::from_slice(&[7i64])),
        ("empty".to_owned(), Tensor::zeros([0, 2], (Kind::Half, Device::Cpu))),
    ];
    carpus::models::write_tensors(&path, &tensors).unwrap();
    let corpus = vec![fs::read(&path).unwrap()];
    let read = |path: &Path| drop(carpus::models::read_tensors(path));
    Target { file: "t.safetensors", inputs: 600, corpus, mutate: mutated, memory: TEXT_MEMORY, read }.run();
}
