//! Connections whose client says nothing are closed: the library waits for the first words without a bound.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// By which the versions of HTTP are told apart.
const FIRST_WORDS: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// A stream that fails where the first words do not come in time.
#[derive(Debug)]
pub struct Prompt<S> {
    stream: S,
    /// Bytes of the first words that have not come yet.
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Prompt<S> {
    pub fn within(timeout: Duration, stream: S) -> Self {
        Self { stream, left: FIRST_WORDS, deadline: Box::pin(sleep(timeout)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.left = self.left.saturating_sub(buffer.filled().len() - before);
        } else if 0 < self.left && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = 0; // who is answered has said enough
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.left = 0;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn silence_is_not_waited_for_but_a_pause_after_the_first_words_is() {
        let (mut client, server) = duplex(64);
        let mut silent = Prompt::within(Duration::from_millis(10), server);
        client.write_all(b"GET").await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(silent.read(&mut bytes).await.unwrap(), 3);
        assert_eq!(silent.read(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (mut client, server) = duplex(64);
        let mut prompt = Prompt::within(Duration::from_millis(10), server);
        client.write_all(&[b'x'; FIRST_WORDS]).await.unwrap();
        assert_eq!(prompt.read(&mut bytes).await.unwrap(), FIRST_WORDS);
        let later = async {
            sleep(Duration::from_millis(50)).await;
            client.write_all(b"y").await.unwrap();
        };
        let (read, ()) = tokio::join!(prompt.read(&mut bytes), later);
        assert_eq!(read.unwrap(), 1);
    }
}
