//! Disks fill and files run out. What was promised is kept, and goes on when there is room again.

tests::at_each_level!(a_full_disk_is_waited_for, too_few_files_are_waited_for);

mod scenarios {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Totals};
    use tests::apart::Apart;
    use tests::process::{Manner, Workplace};
    use tests::{Plan, Storage, say};
    use tokio::task::block_in_place;
    use tokio::time::sleep;

    const PATIENCE: Duration = Duration::from_secs(60);
    /// A cluster, its log of changes, and room for the load.
    const DISK_MIB: usize = 700;

    /// A small disk, gone with its last user.
    struct Disk(PathBuf);

    impl Disk {
        /// `None` where we may not mount one.
        fn mount(at: &Path) -> anyhow::Result<Option<Disk>> {
            if !nix::unistd::geteuid().is_root() {
                return Ok(None);
            }
            fs::create_dir_all(at)?;
            let size = format!("size={DISK_MIB}m,mode=755");
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status()?;
            Ok(mounted.success().then(|| Disk(at.to_owned())))
        }

        /// Leaves so little room that nothing can be written.
        fn fill(&self) -> anyhow::Result<PathBuf> {
            let path = self.0.join("filler");
            let mut file = File::create(&path)?;
            let block = vec![0; 1 << 20];
            for size in [block.len(), 4_096] {
                while file.write_all(&block[..size]).is_ok() {}
            }
            Ok(path)
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            // Lazily: whatever still has a file open there is on its way out.
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }

    pub async fn a_full_disk_is_waited_for(storage: Storage) -> anyhow::Result<()> {
        let workplace = Workplace::new()?;
        let Some(disk) = Disk::mount(&workplace.data())? else {
            say("SKIPPED a_full_disk_is_waited_for: only root can mount a small disk");
            return Ok(());
        };
        let mut city = Plan::up(storage).on(workplace).start().await?;
        let from: Timestamp = "2024-02-09T22:00:00Z".parse()?;
        let load = Load { messages: 1_500, ..Load::clean("full", 1, from).dirty() };
        let ledger = tempfile::tempdir()?;
        let ledger = Ledger::create(&ledger.path().join("ledger"), &load)?;
        let publisher = Publisher { rate: Some(250.0), ..Publisher::new(city.mqtt_url()) };
        let filling = async {
            sleep(Duration::from_secs(1)).await;
            let filler = block_in_place(|| disk.fill())?;
            // Longer than a checkpoint's or a writer's patience to write somewhere else.
            sleep(Duration::from_secs(4)).await;
            fs::remove_file(filler).context("make room")
        };
        let (published, filled) = tokio::join!(publisher.publish(&ledger), filling);
        filled?;
        published?;
        publisher.publish_fresh(&ledger).await?;
        city.reconnect().await?;
        let failed = city.metrics().await?.value("screenline_write_failures_total").unwrap_or_default();
        ensure!(0.0 < failed, "the disk was never full for ingest");
        let oracle = Oracle::new(&ledger, &Totals::default());
        let report = oracle.settle(async || city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        drop(city.stop()?);
        Ok(())
    }

    pub async fn too_few_files_are_waited_for(storage: Storage) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let ingest = apart.ingest_with("few-files", &[], &Manner::default())?;
        let limit = |files: &str| -> anyhow::Result<()> {
            let pid = ingest.pid().to_string();
            let set =
                Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status()?;
            ensure!(set.success(), "prlimit --nofile={files}");
            Ok(())
        };
        let from: Timestamp = "2024-02-10T22:00:00Z".parse()?;
        let load = Load { messages: 1_000, ..Load::clean("files", 1, from).dirty() };
        let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load)?;
        let publisher = Publisher { rate: Some(250.0), ..Publisher::new(apart.city.mqtt_url()) };
        let starving = async {
            sleep(Duration::from_millis(500)).await;
            // The soft limit, below what is open: no connection that breaks can be made again.
            limit("8")?;
            apart.database.cut();
            apart.broker.cut();
            sleep(Duration::from_secs(3)).await;
            limit("1024")
        };
        let (published, starved) = tokio::join!(publisher.publish(&ledger), starving);
        starved?;
        published?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default());
        let report = oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        ingest.stop()?;
        apart.city.stop()?;
        Ok(())
    }
}
