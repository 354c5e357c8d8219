//! The doors of the query service: who is let in, and what is seen there.

tests::at_each_level!(every_role_sees_its_own_at_every_door);

mod scenarios {
    use tests::{Storage, doors};

    pub async fn every_role_sees_its_own_at_every_door(storage: Storage) -> anyhow::Result<()> {
        doors::every_role_sees_its_own(storage, |plan| plan).await
    }
}
