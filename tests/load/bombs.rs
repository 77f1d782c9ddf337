//! Little that would become much: compressed bombs, and headers that declare what never comes.

use flate2::{Compress, Compression, FlushCompress};
use tickcast::shard::Protocol;

use crate::block_on;
use crate::server::Server;
use crate::socket::{Socket, TEXT, frame, raw_frame};

const RSV1: u8 = 0x40;
const CONNECTIONS: usize = 100;

/// A message of some 60,000 bytes that inflates a thousandfold.
fn bomb() -> Vec<u8> {
    let zeros = vec![0; 60 << 20];
    let mut out = Vec::with_capacity(1 << 17);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&zeros, &mut out, FlushCompress::Sync).unwrap();
    assert!(compress.total_in() == zeros.len() as u64 && out.len() < 65_000, "{}", out.len());
    raw_frame(0x80 | RSV1 | TEXT, true, &out[..out.len() - 4])
}

#[test]
fn bombs_burst_without_taking_memory() {
    let mut server = Server::start(&["--rate", "1000", "--ring-bytes", "4194304"]);
    let address = server.address();
    let bomb = bomb();
    block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..CONNECTIONS {
            sockets.push(Socket::open_deflate(address, Protocol::Json).await);
        }
        let (resident, size) = (server.resident(), server.address_space());
        for socket in &mut sockets {
            socket.write(&bomb).await.unwrap();
        }
        for socket in &mut sockets {
            let (code, reason) = socket.closed().await;
            assert_eq!(code, 1009, "{reason}");
        }
        let grown = (server.resident().saturating_sub(resident), server.address_space().saturating_sub(size));
        println!(
            "{CONNECTIONS} bombs of {} bytes: resident +{} KiB, address space +{} KiB",
            bomb.len(),
            grown.0 >> 10,
            grown.1 >> 10
        );
        // Each message may have 64 KiB, and as much while it inflates.
        assert!(grown.0 < 32 << 20 && grown.1 < 256 << 20, "{grown:?}");
    });
    server.assert_well();
}

#[test]
fn nothing_is_reserved_for_what_is_only_declared() {
    let mut server = Server::start(&["--rate", "1000", "--ring-bytes", "4194304"]);
    let address = server.address();
    block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            sockets.push(Socket::open(address, Protocol::Json).await);
        }
        let (resident, size) = (server.resident(), server.address_space());
        // As long as a message may be: the server waits for it.
        let allowed = [&[0x81, 0xFF][..], &65_536_u64.to_be_bytes(), &[0; 4]].concat();
        let endless = [&[0x81, 0xFF][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat();
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket.write(if n % 2 == 0 { &allowed } else { &endless }).await.unwrap();
        }
        for socket in sockets.iter_mut().skip(1).step_by(2) {
            assert_eq!(socket.closed().await.0, 1009);
        }
        // The last of the allowed ones has been read when another client, behind it, is answered.
        let mut behind = Socket::open(address, Protocol::Json).await;
        behind.write(&frame(TEXT, br#"{"op":"ping"}"#)).await.unwrap();
        behind.reply("pong").await;
        let grown = (server.resident().saturating_sub(resident), server.address_space().saturating_sub(size));
        println!(
            "{} declared lengths: resident +{} KiB, address space +{} KiB",
            sockets.len(),
            grown.0 >> 10,
            grown.1 >> 10
        );
        assert!(grown.0 < 4 << 20 && grown.1 < 64 << 20, "{grown:?}");
    });
    server.assert_well();
}
