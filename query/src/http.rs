//! One port for all: gRPC (HTTP/2), gRPC-web (also HTTP/1.1) and files.

use crate::{
    dashboard,
    engine::Engine,
    entrance::{self, Peer},
    flight::Flight,
    identity::Authenticator,
    pages,
    prompt::Prompt,
    tls::Tls,
};
use anyhow::Context;
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state, map_response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_web::GrpcWebLayer;

/// Bytes of one message to us: a statement, a ticket, or a row of parameters.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// HTTP/2 windows: with 64 KiB the network waits for acknowledgements at less than half of the rate.
const WINDOW_BYTES: u32 = 8 << 20;
/// Calls at once on one connection; the engine's own limit is lower.
const STREAMS_MAX: u32 = 32;
/// Connections at once, far more than a city's dashboards; each holds some buffers.
const CONNECTIONS_MAX: usize = 1024;
const KEEPALIVE: Duration = Duration::from_secs(20);
/// For a client that connects and says nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long running answers may take after a stop is asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// # Errors
/// If the address cannot be bound; the message says what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for Flight: stop the process that does, or choose another address by --listen \
             (port 0 takes a free one)"
        )
    })
}

/// Every door, behind the entrance; only whether the service lives is told to anybody, and what the dashboard looks like.
pub fn router(engine: Arc<Engine>, authenticator: Arc<Authenticator>) -> anyhow::Result<Router> {
    let flight =
        FlightServiceServer::new(Flight::new(engine.clone())?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let entrance = from_fn_with_state(authenticator, entrance::enter);
    // Inside of gRPC-web, which translates a refusal as it does an answer.
    let flight = tonic::service::Routes::new(flight).prepare().into_axum_router().layer(entrance.clone());
    let pages = pages::guarded().layer(entrance).merge(pages::open()).merge(dashboard::router());
    let pages = pages.layer(from_fn(dashboard::front));
    Ok(pages
        .with_state(engine)
        .fallback_service(flight.layer(GrpcWebLayer::new()).layer(map_response(entrance::told))))
}

/// Serves until `shutdown`, then lets running answers end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = places.clone().acquire_owned() => place?,
        };
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, or a client gone before it was accepted: neither is a reason to stop.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (router, tls, shutdown) = (router.clone(), tls.clone(), shutdown.clone());
        connections.spawn(async move {
            accepted(stream, router, tls.as_deref(), shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "stopped while clients were still reading");
    }
    Ok(())
}

async fn accepted(stream: TcpStream, router: Router, tls: Option<&Tls>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set nodelay");
    }
    let Some(tls) = tls else { return connection(stream, router, shutdown).await };
    match timeout(HEADER_TIMEOUT, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = certificate.map(|der| Peer::with_certificate(der)).unwrap_or_default();
            connection(stream, router.layer(Extension(peer)), shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client that does not speak TLS, or is not trusted"),
        Err(_) => tracing::debug!("a client that does not finish its TLS handshake"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let serving = builder.serve_connection(
        TokioIo::new(Prompt::within(HEADER_TIMEOUT, stream)),
        TowerToHyperService::new(router),
    );
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a connection ended early");
    }
}
