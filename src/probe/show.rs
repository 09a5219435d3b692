//! Properties of a device as tables, and as JSON with the unit in each key.

use crate::table::Table;
use serde_json::{Value, json};
use sluice_tuning::Properties;
use sluice_tuning::properties::{DeviceIdentity, Difference, Latency};
use std::path::Path;

pub(super) struct Shown<'a> {
    pub(super) properties: &'a Properties,
    pub(super) path: &'a Path,
    /// From the device that was asked about.
    pub(super) differences: &'a [Difference],
}

impl Shown<'_> {
    pub(super) fn to_text(&self) -> String {
        let Properties { measured_for, build, kernel, device, figures, .. } = self.properties;
        let mut text = format!("{}\n", self.path.display());
        text += &format!("device    {device}\n");
        text +=
            &format!("measured  {} for {:.1} s by {build}, Linux {kernel}\n\n", self.measured_at(), measured_for.as_secs_f64());
        text += &format!("{}\n\n", self.transfers().to_text());
        text += &format!("4 KiB written and flushed while others write in bulk\n{}\n\n", self.flushes().to_text());
        text += &format!("4 KiB durably written while others read\n{}\n\n", self.beside_reads().to_text());
        let round_trip = &figures.loopback_round_trip;
        text += &format!(
            "loopback  one stream {} MB/s; there and back p50 {} µs, p99 {} µs\n",
            megabytes(figures.loopback_rate),
            round_trip.p50,
            round_trip.p99
        );
        text += &format!(
            "memory    copied at {} MB/s, CRC-32C at {} MB/s, by one thread",
            megabytes(figures.memory_copy_rate),
            megabytes(figures.checksum_rate)
        );
        text
    }

    pub(super) fn to_json(&self) -> String {
        let Properties { measured_for, build, kernel, device, figures, .. } = self.properties;
        let difference = |one: &Difference| json!({ "what": one.what, "measured": one.measured, "here": one.here });
        let value = json!({
            "file": self.path.display().to_string(),
            "measured_at": self.measured_at(),
            "measured_for_s": measured_for.as_secs_f64(),
            "build": build,
            "kernel": kernel,
            "device": device_json(device),
            "is_this_device": self.differences.is_empty(),
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "transfers": self.transfers().to_json(),
            "flushes_under_load": self.flushes().to_json(),
            "writes_beside_reads": self.beside_reads().to_json(),
            "loopback_mb_per_s": megabytes(figures.loopback_rate),
            "loopback_round_trip": latency_json(&figures.loopback_round_trip),
            "memory_copy_mb_per_s": megabytes(figures.memory_copy_rate),
            "checksum_mb_per_s": megabytes(figures.checksum_rate),
        });
        serde_json::to_string_pretty(&value).expect("plain values serialise")
    }

    fn measured_at(&self) -> String {
        humantime::format_rfc3339_seconds(self.properties.measured_at).to_string()
    }

    fn transfers(&self) -> Table {
        let figures = &self.properties.figures;
        let mut table = Table::new(&[
            "operation",
            "size_kib",
            "depth",
            "mb_per_s",
            "per_s",
            "p50_us",
            "p90_us",
            "p99_us",
            "p99_9_us",
            "max_us",
            "samples",
        ]);
        for (name, rows) in
            [("direct write", &figures.direct_writes), ("durable write", &figures.durable_writes), ("read", &figures.reads)]
        {
            for row in rows {
                let mut cells = vec![
                    name.into(),
                    kib(row.size),
                    row.depth.into(),
                    megabytes(row.rate),
                    number(row.operations_per_s().round()),
                ];
                cells.extend(latency_cells(&row.latency));
                table.push(cells);
            }
        }
        table
    }

    fn flushes(&self) -> Table {
        let mut table =
            Table::new(&["load_percent", "written_mb_per_s", "p50_us", "p90_us", "p99_us", "p99_9_us", "max_us", "samples"]);
        for row in &self.properties.figures.flushes_under_load {
            let mut cells = vec![number(row.load), megabytes(row.written)];
            cells.extend(latency_cells(&row.latency));
            table.push(cells);
        }
        table
    }

    fn beside_reads(&self) -> Table {
        let mut table = Table::new(&[
            "read_size_kib",
            "read_depth",
            "read_mb_per_s",
            "read_p50_us",
            "read_p99_us",
            "p50_us",
            "p90_us",
            "p99_us",
            "p99_9_us",
            "max_us",
            "samples",
        ]);
        for row in &self.properties.figures.writes_beside_reads {
            let (p50, p99) = (number(row.read_latency.p50), number(row.read_latency.p99));
            let mut cells = vec![kib(row.size), row.depth.into(), megabytes(row.read), p50, p99];
            cells.extend(latency_cells(&row.latency));
            table.push(cells);
        }
        table
    }
}

fn latency_cells(latency: &Latency) -> impl Iterator<Item = Value> {
    latency.steps().into_iter().map(|(_, us)| number(us)).chain([latency.samples.into()])
}

fn latency_json(latency: &Latency) -> Value {
    let mut object = serde_json::Map::new();
    object.extend(latency.steps().map(|(name, us)| (format!("{name}_us"), number(us))));
    object.insert("samples".to_owned(), latency.samples.into());
    Value::Object(object)
}

fn device_json(device: &DeviceIdentity) -> Value {
    let disks = device.disks.iter().map(|disk| json!({ "name": disk.name, "model": disk.model, "serial": disk.serial }));
    json!({
        "machine": device.machine,
        "name": device.name,
        "number": device.number,
        "len": device.len,
        "volume_uuid": device.volume_uuid,
        "file_system": device.file_system,
        "file_system_uuid": device.file_system_uuid,
        "disks": disks.collect::<Vec<_>>(),
    })
}

fn kib(size: u32) -> Value {
    number(f64::from(size) / 1024.0)
}

/// Millions of bytes a second, to one digit behind the point.
fn megabytes(bytes_per_s: f64) -> Value {
    number((bytes_per_s / 1e5).round() / 10.0)
}

/// Whole numbers without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tuning::properties::testing::made_up;

    #[test]
    fn every_figure_is_shown_with_its_unit() {
        let properties = made_up();
        let difference = Difference { what: "the machine", measured: "a".to_owned(), here: "b".to_owned() };
        let shown = Shown { properties: &properties, path: Path::new("/data.probe.toml"), differences: &[difference] };
        let text = shown.to_text();
        for part in [
            "device    ext4 on nvme0n1p1 (259:1), disk nvme0n1 A \"MODEL\" serial S1",
            "measured  2026-11-18T11:06:40Z for 95.1 s by sluice 0.1.0 (release), Linux 6.18.0",
            " durable write         4      4        41  10000    97.5     195",
            "one stream 4500 MB/s; there and back p50 23.45 µs, p99 93.8 µs",
            "copied at 9000 MB/s, CRC-32C at 21000 MB/s",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let json: Value = serde_json::from_str(&shown.to_json()).expect("JSON");
        assert_eq!((&json["is_this_device"], &json["differences"][0]["here"]), (&false.into(), &"b".into()));
        let written = &json["transfers"][1];
        assert_eq!(
            (&written["operation"], &written["size_kib"], &written["per_s"]),
            (&"durable write".into(), &4.into(), &10_000.into())
        );
        assert_eq!(json["flushes_under_load"][1]["written_mb_per_s"], 800);
        assert_eq!(json["writes_beside_reads"][0]["read_p50_us"], 500);
        assert_eq!(json["loopback_round_trip"]["p99_us"], 93.8);
    }
}
