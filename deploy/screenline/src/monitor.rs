//! `/metrics`, `/healthz` and `/readyz` of one process: a service's own, or a city's with those of its services.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch};

use crate::{exposition, fetch, ports};

/// Histograms are folded this often, so that they do not grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the pages say.
#[derive(Debug, Clone)]
pub struct Pages {
    metrics: PrometheusHandle,
    ready: watch::Receiver<bool>,
    services: Vec<Service>,
    degraded: watch::Receiver<Option<String>>,
}

/// A service whose pages are part of ours. Its address is known once it was ready, and stays.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: &'static str,
    pub metrics: Arc<OnceLock<SocketAddr>>,
}

/// The answer of `/readyz`, with code 200 or 503.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// What an operator must see to, while everything still works.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<&'static str, bool>,
}

impl Pages {
    /// Pages of a process, `ready` as it says so itself.
    pub fn new(metrics: PrometheusHandle, ready: watch::Receiver<bool>, services: Vec<Service>) -> Self {
        let (_, degraded) = watch::channel(None);
        Self { metrics, ready, services, degraded }
    }

    /// Says on `/readyz`, too, what somebody else finds wrong.
    #[must_use]
    pub fn degraded_by(self, degraded: watch::Receiver<Option<String>>) -> Self {
        Self { degraded, ..self }
    }

    /// Our metrics and those of the services that answer, as one page.
    pub async fn metrics(&self) -> String {
        let mut pages = vec![self.metrics.render()];
        for service in &self.services {
            if let Some((200, page)) = service.page("/metrics").await {
                pages.push(page);
            }
        }
        exposition::merge(&pages)
    }

    async fn readiness(&self) -> Readiness {
        let mut services = BTreeMap::new();
        for service in &self.services {
            services.insert(service.name, matches!(service.page("/readyz").await, Some((200, _))));
        }
        let degraded = self.degraded.borrow().clone();
        Readiness { ready: *self.ready.borrow() && services.values().all(|ready| *ready), degraded, services }
    }
}

impl Service {
    async fn page(&self, path: &str) -> Option<(u16, String)> {
        fetch::get(*self.metrics.get()?, path).await.ok()
    }
}

/// Takes the address before anything else is started.
///
/// # Errors
/// The address is taken or is not of this machine: the message names the flag.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    ports::check("--metrics-listen", address)?;
    TcpListener::bind(address).await.with_context(|| format!("listen on {address} (--metrics-listen)"))
}

/// Serves the pages until the process ends.
pub fn serve(listener: TcpListener, pages: Pages) {
    let metrics = pages.metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(pages);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the metrics listener failed");
        }
    });
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let readiness = pages.readiness().await;
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&readiness) {
        Ok(json) => (code, [("content-type", "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics_page(State(pages): State<Pages>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], pages.metrics().await)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    async fn serve_test(services: Vec<Service>, name: &'static str) -> (SocketAddr, watch::Sender<bool>) {
        let recorder = PrometheusBuilder::new().add_global_label("service", name).build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("seen_total").increment(2));
        let (to, ready) = watch::channel(true);
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, Pages::new(recorder.handle(), ready, services));
        (address, to)
    }

    #[tokio::test]
    async fn a_city_is_ready_only_with_its_services_and_shows_their_metrics() {
        let (ingest, ready) = serve_test(Vec::new(), "ingest").await;
        let (known, unknown) = (Arc::new(OnceLock::from(ingest)), Arc::new(OnceLock::new()));
        let services = |query: &Arc<OnceLock<SocketAddr>>| {
            vec![
                Service { name: "ingest", metrics: known.clone() },
                Service { name: "query", metrics: query.clone() },
            ]
        };
        let (early, _own) = serve_test(services(&unknown), "launcher").await;
        let (code, body) = fetch::get(early, "/readyz").await.unwrap();
        assert_eq!(
            (code, body.as_str()),
            (503, r#"{"ready":false,"services":{"ingest":true,"query":false}}"#)
        );

        let (city, _own) = serve_test(services(&known), "launcher").await;
        assert_eq!(fetch::get(city, "/readyz").await.unwrap().0, 200);
        ready.send(false).unwrap();
        assert_eq!(fetch::get(city, "/readyz").await.unwrap().0, 503);
        assert_eq!(fetch::get(city, "/healthz").await.unwrap(), (200, "ok\n".into()));
        let (_, page) = fetch::get(city, "/metrics").await.unwrap();
        assert_eq!(exposition::total(&page, "seen_total"), Some(6.0), "{page}");
        assert_eq!(page.matches("# TYPE seen_total counter").count(), 1, "{page}");
    }
}
