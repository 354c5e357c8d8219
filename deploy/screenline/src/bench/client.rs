//! A client of Flight, as one that works with the rows it gets.

use arrow_flight::{
    Ticket, decode::FlightRecordBatchStream, error::FlightError, flight_service_client::FlightServiceClient,
};
use futures::{TryStreamExt, future::ready};
use tonic::transport::{Channel, Endpoint};

/// Larger than any message of the service.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What makes a stream of large batches flow.
const WINDOW_BYTES: u32 = 8 << 20;

pub type Client = FlightServiceClient<Channel>;

/// # Errors
/// Nobody answers there.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let channel = Endpoint::from_shared(url.replace("grpc://", "http://"))?
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await?;
    Ok(FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// What a ticket stands for. Signs of life of a tail, which have no rows, are left out.
///
/// # Errors
/// The service refuses.
pub async fn get(client: &mut Client, ticket: &Ticket) -> anyhow::Result<FlightRecordBatchStream> {
    let frames = client.do_get(ticket.clone()).await?.into_inner();
    let frames = frames.try_filter(|frame| ready(!frame.data_header.is_empty()));
    let frames = frames.map_err(|error| FlightError::Tonic(error.into()));
    Ok(FlightRecordBatchStream::new_from_flight_data(frames))
}
