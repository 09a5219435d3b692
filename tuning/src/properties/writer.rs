//! A properties file as text: comments for people, strings with units for both.
//!
//! What ends the file is a string, so that no cut of it is a whole file.

use super::figures::{FlushUnderLoad, Latency, Transfer, WriteBesideReads};
use super::{Properties, VERSION};
use crate::quantity::{Quantity, format as with_unit};

const HEAD: &str =
    "# What `sluice probe` measured of one device. `sluice probe --show` explains it, and says whether it is this device's.
# Do not copy it to another machine: it is refused there. Measure anew instead, when device, kernel or host have changed.
# MB are millions of bytes; latencies are of single operations, from the call until it returned.
";

pub(super) fn write(properties: &Properties) -> String {
    let Properties { measured_at, measured_for, build, kernel, device, figures } = properties;
    let mut text = format!("{HEAD}\nformat = \"sluice-probe\"\nversion = {VERSION}\n");
    text += &format!("measured_at = {}\n", quoted(&humantime::format_rfc3339_seconds(*measured_at).to_string()));
    text += &format!("measured_for = \"{} s\"\n", measured_for.as_secs_f64());
    text += &format!("build = {}\nkernel = {}\n", quoted(build), quoted(kernel));
    text += &format!("rows = {}\n", figures.row_count());

    text += "\n[memory]\n# One thread: bytes copied, and bytes of which a CRC-32C was taken.\n";
    text += &format!("copy = \"{}\"\n", rate(figures.memory_copy_rate));
    text += &format!("checksum = \"{}\"\n", rate(figures.checksum_rate));

    text += "\n[loopback]\n# One stream; and 1152 bytes there and 64 back, both sides asleep between them.\n";
    text += &format!("stream = \"{}\"\n", rate(figures.loopback_rate));
    text += &format!("round_trip = {}\n", latency(&figures.loopback_round_trip));

    let kinds: [(&str, &str, &[Transfer]); 3] = [
        (
            "direct_write",
            "Writes with O_DIRECT into new space, one place after the other; durable only after a flush.",
            &figures.direct_writes,
        ),
        (
            "durable_write",
            "Writes with O_DIRECT and O_DSYNC over blocks written before: durable when they return.",
            &figures.durable_writes,
        ),
        ("read", "Reads with O_DIRECT at random places.", &figures.reads),
    ];
    for (key, about, rows) in kinds {
        text += &format!("\n# {about}\n");
        rows.iter().for_each(|row| text += &transfer(key, row));
    }
    text += "\n# 4 KiB written and flushed (fdatasync), again and again, while others write in bulk: `load` is the share of what they\n\
             # reach alone that they were let write, `written` what they did write.\n";
    figures.flushes_under_load.iter().for_each(|row| text += &flush_under_load(row));
    text += "\n# 4 KiB written with O_DSYNC, again and again, while others read at random places.\n";
    figures.writes_beside_reads.iter().for_each(|row| text += &write_beside_reads(row));

    text += "\n# The device, by which the file is refused elsewhere. `machine` is a hash of the host's machine-id.\n[device]\n";
    let mut put = |key: &str, value: Option<&str>| {
        value.iter().for_each(|value| text += &format!("{key} = {}\n", quoted(value)));
    };
    put("machine", device.machine.as_deref());
    put("name", Some(&device.name));
    put("number", Some(&device.number));
    put("size", device.len.map(|len| format!("{len} B")).as_deref());
    put("volume_uuid", device.volume_uuid.as_deref());
    put("file_system_uuid", device.file_system_uuid.as_deref());
    let disk = |disk: &super::Disk| {
        let part = |key: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(", {key} = {}", quoted(value)))
        };
        format!("{{ name = {}{}{} }}", quoted(&disk.name), part("model", &disk.model), part("serial", &disk.serial))
    };
    text += &format!("disks = [{}]\n", device.disks.iter().map(disk).collect::<Vec<_>>().join(", "));
    // Last: without it a device is not whole.
    text += &format!("file_system = {}\n", quoted(&device.file_system));
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Whole bytes a second as megabytes, digit by digit: a division would not read back exactly.
fn rate(bytes_per_s: f64) -> String {
    let whole = bytes_per_s as u64;
    let digits = format!("{}.{:06}", whole / 1_000_000, whole % 1_000_000);
    format!("{} MB/s", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn latency(latency: &Latency) -> String {
    let steps = latency.steps().map(|(name, us)| format!("{name} = \"{}\"", with_unit(us, Quantity::Time)));
    format!("{{ samples = {}, {} }}", latency.samples, steps.join(", "))
}

fn size(bytes: u32) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

fn transfer(key: &str, row: &Transfer) -> String {
    let Transfer { size: bytes, depth, rate: bytes_per_s, latency: times } = row;
    format!(
        "[[{key}]]\nsize = \"{}\"\ndepth = {depth}\nrate = \"{}\"\nlatency = {}\n",
        size(*bytes),
        rate(*bytes_per_s),
        latency(times)
    )
}

fn flush_under_load(row: &FlushUnderLoad) -> String {
    let FlushUnderLoad { load, written, latency: times } = row;
    let load = with_unit(*load, Quantity::Percent);
    format!("[[flush_under_load]]\nload = \"{load}\"\nwritten = \"{}\"\nlatency = {}\n", rate(*written), latency(times))
}

fn write_beside_reads(row: &WriteBesideReads) -> String {
    let WriteBesideReads { size: bytes, depth, read, read_latency, latency: times } = row;
    format!(
        "[[write_beside_reads]]\nsize = \"{}\"\ndepth = {depth}\nread = \"{}\"\nread_latency = {}\nlatency = {}\n",
        size(*bytes),
        rate(*read),
        latency(read_latency),
        latency(times)
    )
}
