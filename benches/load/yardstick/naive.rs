//! A bridge as it is often written: a task and a WebSocket for each stream, a message for each
//! packet, no voice activity.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use futures_util::SinkExt;
use rtp_rs::RtpReader;
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::counting::when_input_ends;
use crate::Outcome;

const START: &str =
    r#"{"command":"START","config":{"audio_format":"pcm8k16bit","property":"chinese_8k_common"}}"#;

/// Bridges until standard input ends.
pub(super) fn run(ports: impl Iterator<Item = u16>, endpoint: &str) -> Outcome<u64> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let address = endpoint.replace("ws://localhost", "127.0.0.1");
    let received = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        for port in ports {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let (address, received) = (address.clone(), Arc::clone(&received));
            tokio::spawn(async move {
                if let Err(error) = bridge(socket, &address, &received).await {
                    eprintln!("a stream of the naive bridge ended: {error}");
                }
            });
        }
        let stopped = when_input_ends();
        while !stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Outcome::Ok(())
    })?;
    Ok(received.load(Ordering::Relaxed))
}

async fn bridge(
    socket: UdpSocket,
    address: &str,
    received: &AtomicU64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut datagram = [0; 2048];
    // It connects when somebody speaks, which is at the first packet.
    socket.peek(&mut datagram).await?;
    let stream = TcpStream::connect(address).await?;
    let url = format!("ws://{address}/v1/local/rasr/short-stream");
    let (mut recogniser, _) = client_async(url, stream).await?;
    recogniser.send(Message::text(START)).await?;
    loop {
        let length = socket.recv(&mut datagram).await?;
        received.fetch_add(1, Ordering::Relaxed);
        let Ok(packet) = RtpReader::new(&datagram[..length]) else {
            continue;
        };
        let decode = if packet.payload_type() == 0 {
            decode_ulaw
        } else {
            decode_alaw
        };
        let pcm: Vec<u8> = packet
            .payload()
            .iter()
            .flat_map(|&code| decode(code).to_le_bytes())
            .collect();
        recogniser.send(Message::binary(pcm)).await?;
    }
}
