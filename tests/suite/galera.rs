//! Nodes of a Galera cluster that are not ready, are cut off, or hang in mid-run.

use std::thread::sleep;
use std::time::Duration;

use super::patience::{is_as_without, is_long, make_myisam, site_with, wait_for};
use crate::support::{Cluster, Connected, Index};

/// Longer than a cluster takes to detect that a node is cut off, which is 2 to 5 s here.
fn outage() -> Duration {
    Duration::from_secs(if is_long() { 20 } else { 8 })
}

fn isolate(node: &mut Connected, is_isolated: bool) {
    node.execute(&format!("SET GLOBAL wsrep_provider_options = 'gmcast.isolate={}'", u8::from(is_isolated)));
}

/// Waits until a node accepts statements again as a member of a majority. The test does not wait
/// for a third node, which may take minutes to return on a loaded machine.
fn wait_for_majority(node: &mut Connected) {
    let state = "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_ready')";
    let is_majority = |rows: Vec<String>| {
        rows == ["wsrep_cluster_size|2", "wsrep_ready|ON"] || rows == ["wsrep_cluster_size|3", "wsrep_ready|ON"]
    };
    for _ in 0..1800 {
        if is_majority(node.rows(state)) {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("the node does not join its cluster again: {:?}", node.rows(state));
}

#[test]
fn a_run_goes_on_after_its_node_was_isolated() {
    let Some(cluster) = Cluster::start(3) else { return };
    let site = site_with(20_000);
    let [index, calm] = [(); 2].map(|()| Index::mariadb_on(&cluster.nodes[0], &site));
    let mut node = Connected::to(&cluster.nodes[0]);
    let mut run = site.start_shown(&index, &["--io-threads", "2"]);
    wait_for(&index, 1500);
    assert!(!run.is_over());
    isolate(&mut node, true);
    sleep(outage());
    assert!(!run.is_over());
    isolate(&mut node, false);
    let said = run.end();
    assert!(said.err.contains("writing waits: ") && said.err.contains("writing goes on after"), "{}", said.err);
    wait_for_majority(&mut node);
    is_as_without(said, &index, &site, &calm);
}

#[test]
fn a_run_goes_on_while_another_node_is_isolated_or_hangs() {
    if !is_long() {
        println!("*** This test runs with tests/run --long only ***");
        return;
    }
    let Some(mut cluster) = Cluster::start(3) else { return };
    let site = site_with(20_000);
    let [mut first, mut last] = [0, 2].map(|node| Connected::to(&cluster.nodes[node]));
    for hangs in [false, true] {
        let [index, calm] = [(); 2].map(|()| Index::mariadb_on(&cluster.nodes[0], &site));
        let mut run = site.start_reindex(&index, &["--io-threads", "2"]);
        wait_for(&index, 1500);
        assert!(!run.is_over());
        if hangs {
            cluster.order("pause 1")
        } else {
            isolate(&mut last, true)
        }
        sleep(outage());
        if hangs {
            cluster.order("resume 1")
        } else {
            isolate(&mut last, false)
        }
        let said = run.end();
        wait_for_majority(&mut first);
        wait_for_majority(&mut last);
        is_as_without(said, &index, &site, &calm);
        last.execute("SET SESSION wsrep_sync_wait = 1");
        assert_eq!(last.rows(&format!("SELECT COUNT(*) FROM {}.image", index.name())), ["20000"]);
    }
}

#[test]
fn a_node_that_is_not_ready_is_waited_for() {
    let Some(cluster) = Cluster::start(1) else { return };
    let site = site_with(4000);
    let [index, calm] = [(); 2].map(|()| Index::mariadb_on(&cluster.nodes[0], &site));
    let mut node = Connected::to(&cluster.nodes[0]);
    let run = site.start_shown(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    // The state of a node that receives the state of another.
    node.execute("SET GLOBAL wsrep_reject_queries = ALL");
    sleep(Duration::from_secs(2));
    node.execute("SET GLOBAL wsrep_reject_queries = NONE");
    let said = run.end();
    assert!(said.err.contains("writing waits: ") && said.err.contains("1047"), "{}", said.err);
    is_as_without(said, &index, &site, &calm);
}

#[test]
fn tables_that_a_cluster_does_not_replicate_are_not_written_to_unless_asked() {
    let Some(cluster) = Cluster::start(1) else { return };
    let site = site_with(20);
    let index = Index::mariadb_on(&cluster.nodes[0], &site);
    make_myisam(&index);
    let said = site.reindex(&index, &[]).exits(2);
    let told = "does not replicate image (MyISAM), patient (MyISAM), series (MyISAM), study (MyISAM)";
    assert!(said.err.contains(told) && said.err.contains("--allow-unreplicated-tables"), "{}", said.err);
    assert_eq!(index.count("image"), 0);
    site.reindex(&index, &["--dry-run"]).exits(0);
    site.reindex(&index, &["--allow-unreplicated-tables"]).exits(0);
    assert_eq!(index.count("image"), 20);
}
