//! Time of a query that joins a million bones with their images and patients and groups them; best of 5. Run by `make bench`.

use std::time::Instant;

use carpus::dataset::metadata::Sex;
use carpus::tables::{BoneRow, ImageRow, NamedTable, PatientRow, query, read_frame, write_parquet};

const IMAGES: usize = 34_483;
const SQL: &str = "select sex, label, count(*) as n, avg(area_px) as area, max(bones.edge) as edge from bones \
                   join images using (image_id) join patients using (patient_id) group by sex, label order by sex, label";

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let patients: Vec<PatientRow> = (0..IMAGES / 2)
        .map(|i| PatientRow { patient_id: format!("{i:05}"), sex: Some(Sex::ALL[i % 2]), ..PatientRow::default() })
        .collect();
    let images: Vec<ImageRow> = (0..IMAGES)
        .map(|i| ImageRow {
            image_id: format!("image{i}"),
            patient_id: format!("{:05}", i / 2 % patients.len()),
            ..ImageRow::default()
        })
        .collect();
    let bones: Vec<BoneRow> = images
        .iter()
        .flat_map(|image| carpus::bones::Bone::all().map(move |bone| (image, bone)))
        .map(|(image, bone)| BoneRow {
            image_id: image.image_id.clone(),
            label: bone.name().into(),
            area_px: image.image_id.len() as u64 * 100 + bone.index() as u64,
            edge: Some(bone.index() as f64 / 29.0),
            ..BoneRow::default()
        })
        .collect();
    println!("{} bones of {} images and {} patients", bones.len(), images.len(), patients.len());
    write_parquet(&at("bones.parquet"), &bones).expect("a table");
    write_parquet(&at("images.parquet"), &images).expect("a table");
    write_parquet(&at("patients.parquet"), &patients).expect("a table");
    let tables = ["bones", "images", "patients"]
        .map(|name| NamedTable { name: name.into(), path: at(&format!("{name}.parquet")) });
    let best = |run: &dyn Fn()| {
        let once = || {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        };
        (0..5).map(|_| once()).fold(f64::MAX, f64::min)
    };
    let total = best(&|| drop(query(&tables, SQL).expect("a result")));
    let read = best(&|| tables.iter().for_each(|table| drop(read_frame(&table.path).expect("a table"))));
    println!("read, join and group: {total:.2} s, of which reading {read:.2} s");
}
