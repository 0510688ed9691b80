//! Asking a held instance itself: does anything accept connections on its port?

use std::{io::ErrorKind, time::Duration};

use landfall_model::{Host, Instance};
use tokio::net::{TcpStream, lookup_host};

use crate::brake::Probed;

/// Longest time a probe waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Finds out whether an instance is alive, without its registry.
#[async_trait::async_trait]
pub trait Probe: Send + Sync + 'static {
    /// One probe. Answers within seconds.
    async fn probe(&self, instance: &Instance) -> Probed;
}

/// Opens a TCP connection to the instance's first port and closes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpProbe;

#[async_trait::async_trait]
impl Probe for TcpProbe {
    async fn probe(&self, instance: &Instance) -> Probed {
        let Some(port) = instance.ports.first().map(|port| port.number) else {
            return Probed::Unknown;
        };
        let connect = async {
            let addresses = match &instance.host {
                Host::Ip(ip) => vec![(*ip, port).into()],
                Host::Name(name) => match lookup_host((&**name, port)).await {
                    Ok(addresses) => addresses.collect(),
                    // The name service may be the one that fails: that says nothing about the instance.
                    Err(_) => return Probed::Unknown,
                },
            };
            match TcpStream::connect(&*addresses).await {
                Ok(_) => Probed::Answers,
                // Our own lack of sockets or rights says nothing about the instance either.
                Err(error) if is_ours(&error) => Probed::Unknown,
                Err(_) => Probed::Fails,
            }
        };
        tokio::time::timeout(PATIENCE, connect).await.unwrap_or(Probed::Fails)
    }
}

fn is_ours(error: &std::io::Error) -> bool {
    const NO_MORE_FILES: [i32; 2] = [23, 24]; // ENFILE, EMFILE
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput | ErrorKind::OutOfMemory
    ) || error.raw_os_error().is_some_and(|code| NO_MORE_FILES.contains(&code))
}

#[cfg(test)]
mod tests {
    use landfall_model::{Port, Protocol, Status};

    use super::*;

    fn instance(host: Host, ports: &[u16]) -> Instance {
        Instance {
            id: "i".into(),
            host,
            ports: ports
                .iter()
                .map(|number| Port {
                    number: *number,
                    protocol: Protocol::Unknown,
                    tls: false,
                })
                .collect(),
            status: Status::Up,
            weight: 100,
            zone: None,
            metadata: Default::default(),
            changed: None,
        }
    }

    #[tokio::test]
    async fn an_open_port_answers_and_a_closed_one_fails() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let there = instance(Host::Ip(address.ip()), &[address.port()]);
        assert_eq!(TcpProbe.probe(&there).await, Probed::Answers);
        drop(listener);
        assert_eq!(TcpProbe.probe(&there).await, Probed::Fails);
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_unknown() {
        let portless = instance(Host::parse("127.0.0.1"), &[]);
        assert_eq!(TcpProbe.probe(&portless).await, Probed::Unknown);
        let nameless = instance(Host::parse("no such name"), &[80]);
        assert_eq!(TcpProbe.probe(&nameless).await, Probed::Unknown);
    }
}
