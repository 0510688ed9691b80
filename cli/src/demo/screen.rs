//! What the demo shows: what is running, what to try, and each request as it goes through.

use std::{io::IsTerminal, path::Path, sync::mpsc::Receiver};

use serde_json::Value;

use super::sample::Sample;
use crate::{
    args::DemoArgs,
    output::{self, cell},
};

/// What is running and four lines to try.
pub fn welcome(args: &DemoArgs, dir: &Path, samples: &[Sample], elsewhere: &Sample) {
    let (port, registry, admin) = (args.port, args.registry_port, args.admin);
    let mut text = String::from("\nLandfall is running. Ctrl-C ends it.\n\n");
    text += &format!("  gateway    http://127.0.0.1:{port}\n");
    text += &format!(
        "  registry   http://127.0.0.1:{registry}/eureka   (embedded; real Eureka clients can register here)\n"
    );
    for sample in samples {
        text += &format!("             {:<10} {}\n", sample.instance(), sample.address());
    }
    text += &format!(
        "  file       {}/vm.yaml   (a second world, followed live)\n",
        dir.display()
    );
    text += &format!("             {:<10} {}\n", elsewhere.instance(), elsewhere.address());
    text += &format!("  admin      http://{admin}   (/metrics, /readyz, /api/v1/…)\n");
    text += &format!(
        "  config     {}/landfall.yaml   (change it: it takes effect at once)\n\n",
        dir.display()
    );
    text += "Try in another terminal:\n\n";
    text += "  # an instance found in the embedded registry; ask a few times and both of them answer\n";
    text += &format!("  curl localhost:{port}/orders\n\n");
    text += "  # one service that lives in two worlds, half and half\n";
    text += &format!("  curl localhost:{port}/stock\n\n");
    text += "  # take an instance out, as an operator does in Eureka; the other one gets all calls\n";
    text +=
        &format!("  curl -X PUT 'localhost:{registry}/eureka/apps/ORDERS/orders-1/status?value=OUT_OF_SERVICE'\n\n");
    text += "  # why is it out? (also: landfall why orders, landfall get services)\n";
    text += &format!("  curl '{admin}/api/v1/why?service=orders.eureka'\n\n");
    output::print(&text);
}

/// Prints each request as a row, until the gateway ends. Quiet where nobody watches.
pub fn table(lines: &Receiver<Vec<u8>>) {
    let watched = std::io::stdout().is_terminal();
    if watched {
        output::print(&row([
            "METHOD", "PATH", "STATUS", "TOOK", "TRIES", "SERVICE", "ENDPOINT",
        ]
        .map(str::to_owned)));
    }
    for chunk in lines.iter().filter(|_| watched) {
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(call) = serde_json::from_slice::<Value>(line) {
                output::print(&row(cells(&call)));
            }
        }
    }
}

fn cells(call: &Value) -> [String; 7] {
    let took = call["tookMicros"]
        .as_f64()
        .map_or_else(String::new, |micros| format!("{:.1} ms", micros / 1000.0));
    let [method, path, status, tries, cluster, endpoint] =
        ["method", "path", "status", "tries", "cluster", "endpoint"].map(|key| cell(&call[key]));
    [method, path, status, took, tries, cluster, endpoint]
}

fn row(cells: [String; 7]) -> String {
    let [method, path, status, took, tries, service, endpoint] = cells;
    format!("  {method:<7} {path:<24} {status:<6} {took:<9} {tries:<5} {service:<16} {endpoint}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_becomes_a_row() {
        let call = serde_json::json!({"method": "GET", "path": "/orders", "status": 200, "tookMicros": 1234, "tries": 1,
            "cluster": "orders.eureka", "endpoint": "127.0.0.1:9"});
        assert_eq!(
            row(cells(&call)),
            "  GET     /orders                  200    1.2 ms    1     orders.eureka    127.0.0.1:9\n"
        );
    }
}
