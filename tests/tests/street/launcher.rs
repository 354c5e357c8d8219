//! A city is started, refused, stopped and found again.

tests::at_each_level!(a_city_started_again_has_its_tables, a_folder_is_used_by_one_city_at_a_time);

mod scenarios {
    use std::sync::Arc;

    use anyhow::{Context, ensure};
    use simulators::replay::Speed;
    use tests::process::{Process, Workplace};
    use tests::tables::Snapshot;
    use tests::{City, Plan, Storage};
    use tokio::task::block_in_place;

    pub async fn a_city_started_again_has_its_tables(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.replay_feed("sumo-grid", Speed::Max, Arc::default()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        let workplace = city.stop()?;
        let city = Plan::up(storage).on(workplace).start().await?;
        before.equals(&Snapshot::read(city.database()).await?)?;
        city.settled_at(15_383).await?;
        before.equals(&Snapshot::read(city.database()).await?)?;
        city.stop()?;
        Ok(())
    }

    pub async fn a_folder_is_used_by_one_city_at_a_time(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let elsewhere = Workplace::new()?;
        let data = city.workplace().data().display().to_string();
        let said = refused(&elsewhere, storage, &["--data", &data])?;
        ensure!(said.contains("in use"), "{said}");
        city.publish("city/senml/after", r#"[{"bn":"after:","bt":1704067200,"n":"level","v":1}]"#).await?;
        city.settled().await.context("the city whose folder was asked for")?;
        city.stop()?;
        Ok(())
    }

    /// What `screenline up` says before it ends with an error.
    pub fn refused(workplace: &Workplace, storage: Storage, more: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["up", "--storage", storage.name()];
        for flag in ["--listen", "--metrics-listen", "--mqtt-listen"] {
            if !more.contains(&flag) {
                args.extend([flag, "127.0.0.1:0"]);
            }
        }
        args.extend(more);
        let mut up = Process::start(workplace, "refused", &args)?;
        let status = block_in_place(|| up.wait())?;
        ensure!(!status.success(), "screenline up {more:?} ended with success");
        up.forget();
        Ok(up.log())
    }
}

use std::net::TcpListener;

use tests::Storage;
use tests::process::Workplace;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_screenlines_is_left_alone() {
    let workplace = Workplace::new().unwrap();
    let folder = workplace.path().join("thesis");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("thesis.tex"), "a life's work").unwrap();
    let said = scenarios::refused(&workplace, Storage::Plain, &["--data", folder.to_str().unwrap()]).unwrap();
    assert!(said.contains("thesis") && said.contains("--data"), "{said}");
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        1,
        "something was written into a stranger's folder"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--metrics-listen", "--mqtt-listen"] {
        let workplace = Workplace::new().unwrap();
        let data = workplace.data().display().to_string();
        let said =
            scenarios::refused(&workplace, Storage::Plain, &["--data", &data, flag, &address]).unwrap();
        assert!(said.contains(&address) && said.contains(flag), "{flag} {address}: {said}");
    }
}
