use super::*;

fn read(text: &str) -> Result<Workload, String> {
    parse("mine", text, &|file| {
        if file == "rates.csv" { Ok("0,10\n10,20\n".to_owned()) } else { Err(format!("{file}: not there")) }
    })
}

fn open(text: &str) -> OpenLoad {
    match read(text).expect(text).load {
        Load::Open(load) => load,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rate_is_a_warm_up_and_a_counted_phase() {
    let load = open("about = 'x'\nrate_per_s = 100\nseconds = 10\nvalue_len = 64\nreaders = 1");
    let shapes: Vec<_> =
        load.phases.iter().map(|phase| (phase.name.as_str(), phase.seconds, phase.from_per_s, phase.is_counted)).collect();
    assert_eq!(shapes, [("warm-up", 1.0, 100.0, false), ("load", 10.0, 100.0, true)]);
    assert_eq!(load.consume, Some(ConsumeLoad { groups: 1, readers: 1, per_s_max: None }));
}

#[test]
fn a_spike_rises_holds_falls_and_settles() {
    let text = "about = 'x'\n[spike]\nbase_per_s = 10\nfactor = 5\nbase_s = 1\nrise_s = 2\nhold_s = 3\nsettle_s = 4";
    let phases = open(text).phases;
    let shapes: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), phase.seconds, phase.to_per_s)).collect();
    assert_eq!(shapes[1..], [("base", 1.0, 10.0), ("rise", 2.0, 50.0), ("hold", 3.0, 50.0), ("settle", 4.0, 10.0)]);
}

#[test]
fn a_trace_lies_beside_the_file() {
    let phases = open("about = 'x'\n[trace]\nfile = 'rates.csv'\ncompress = 2").phases;
    assert_eq!((phases[1].seconds, phases[1].from_per_s, phases[1].to_per_s), (5.0, 10.0, 20.0));
}

#[test]
fn what_is_wrong_is_an_error_that_names_the_key() {
    for (text, expected) in [
        ("about = 'x'\nrate_per_s = 1\nsped = 1", "sped"),
        ("rate_per_s = 1", "about"),
        ("about = 'x'", "rate_per_s"),
        ("about = 'x'\nrate_per_s = 0", "rate of zero"),
        ("about = 'x'\nrate_per_s = -1", "rate_per_s"),
        ("about = 'x'\nrate_per_s = nan", "rate_per_s"),
        ("about = 'x'\nrate_per_s = 1\nvalue_len = 7", "value_len"),
        ("about = 'x'\nrate_per_s = 1\npartitions = 0", "partitions"),
        ("about = 'x'\nrate_per_s = 1\nacks = 'some'", "acks"),
        ("about = 'x'\nrate_per_s = 1\nconsume_per_s = 5", "`consume_per_s` needs `readers`"),
        ("about = 'x'\nrate_per_s = 1\nreaders = 2", "readers"),
        ("about = 'x'\nrate_per_s = 1\nconnections = 3\nlanes = 2", "`connections` = 3 and `lanes` = 2"),
        ("about = 'x'\nrate_per_s = 1\nyardstick = 'yard'", "yardstick"),
        ("about = 'x'\nrate_per_s = 1\n[trace]\nfile = 'rates.csv'", "`rate_per_s` and `trace`"),
        ("about = 'x'\nseconds = 1\n[trace]\nfile = 'rates.csv'", "`seconds` and `trace`"),
        ("about = 'x'\n[trace]\nfile = 'other.csv'", "other.csv"),
        ("about = 'x'\nloop = 'closed'\nrate_per_s = 1", "`rate_per_s` has no meaning"),
        ("about = 'x'\nloop = 'closed'\nacks = 'none'", "acks"),
        ("about = 'x'\nloop = 'idle'\nvalue_len = 10", "`value_len` has no meaning"),
        ("about = 'x'\nloop = 'closed'\nlog_mb = 10", "`log_mb` has no meaning"),
        ("about = 'x'\nloop = 'round'", "loop"),
    ] {
        let problem = read(text).expect_err(text);
        assert!(problem.contains(expected), "{text:?} gives {problem:?}, without {expected:?}");
    }
}

#[test]
fn a_workload_can_be_made_to_last_as_long_as_wanted() {
    let spike =
        "about = 'x'\nwarm_up_s = 2\n[spike]\nbase_per_s = 10\nfactor = 5\nbase_s = 1\nrise_s = 2\nhold_s = 3\nsettle_s = 4";
    let Load::Open(load) = read(spike).expect("a spike").lasting(5.0).load else { panic!("open") };
    assert_eq!(load.phases.iter().map(|phase| phase.seconds).collect::<Vec<_>>(), [1.0, 0.5, 1.0, 1.5, 2.0]);
}
