//! The command line: what can be said, and its defaults. Nothing is done here.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use landfall_model::{RegistryName, ServiceId};

/// Brings services of Eureka, Consul and Dubbo registries behind one gateway, on VMs and bare metal.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What is logged to standard error: error, warn, info, debug, or filters such as `landfall_adapters=debug`.
    #[arg(long, global = true, env = "LANDFALL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged.
    #[arg(
        long,
        global = true,
        env = "LANDFALL_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything at once with nothing to install: a registry, sample services, the gateway.
    Demo(DemoArgs),
    /// Gateway and control plane in one process.
    Up(UpArgs),
    /// The edge gateway; without a control plane to ask it follows the registries itself.
    Gateway(UpArgs),
    /// Beside an application: takes its calls in and out, under mutual TLS where both sides can.
    Sidecar(SidecarArgs),
    /// The identity that a sidecar or a gateway shows to others.
    Identity(IdentityArgs),
    /// Check a configuration; print every problem with file:line:column.
    Validate(ValidateArgs),
    /// Tell which route, filters and endpoints a call would take, and why.
    Explain(ExplainArgs),
    /// List what a running Landfall knows.
    Get(GetArgs),
    /// Tell where a service's endpoints came from, or why one is missing.
    Why(WhyArgs),
    /// Services of one registry written into others: what would be written, apply it, how it stands.
    Sync(SyncArgs),
    /// Preflight: configuration, registries, ports, certificates, clocks.
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

/// `landfall demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Port of the gateway.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Port of the embedded Eureka registry.
    #[arg(long, default_value_t = 8761)]
    pub registry_port: u16,
    /// Address of the admin server.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
}

/// `landfall sidecar`
#[derive(Debug, Args)]
pub struct SidecarArgs {
    /// A configuration file, or a directory of them: registries, MeshServices and policies; Gateways and routes are the edge's.
    #[arg(long, env = "LANDFALL_CONFIG", value_name = "PATH")]
    pub config: PathBuf,
    /// The application's service, as `orders.eureka`.
    #[arg(long, env = "LANDFALL_SERVICE", value_name = "SERVICE.REGISTRY", value_parser = service_id)]
    pub service: ServiceId,
    /// Where the application listens.
    #[arg(long, env = "LANDFALL_APPLICATION", value_name = "IP:PORT")]
    pub application: SocketAddr,
    /// A service that the application calls, as `payments.consul`; once for each. MeshServices need not be named.
    #[arg(long = "call", env = "LANDFALL_CALLS", value_delimiter = ',', value_name = "SERVICE.REGISTRY", value_parser = service_id)]
    pub calls: Vec<ServiceId>,
    /// Where callers come in.
    #[arg(long, default_value = "[::]:15006", value_name = "IP:PORT")]
    pub inbound: SocketAddr,
    /// Where the application's calls go. Whoever reaches it calls as this application: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:15001", value_name = "IP:PORT")]
    pub outbound: SocketAddr,
    /// Whether callers have to come by mutual TLS, where no PeerAuthentication of the configuration says it.
    #[arg(long, env = "LANDFALL_MUTUAL_TLS", default_value = "permissive", value_name = "MODE")]
    pub mutual_tls: MutualTlsMode,
    #[command(flatten)]
    pub identity: IdentityPlace,
    /// Address of the admin server. It has no login: keep it on loopback.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// Where the last good view of each registry is kept [default: as for `landfall up`].
    #[arg(long, env = "LANDFALL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Threads that carry traffic.
    #[arg(long, env = "LANDFALL_WORKERS", default_value_t = 1, value_name = "N")]
    pub workers: usize,
    /// One JSON line a request: a file, `-` for standard output, or `off`.
    #[arg(long, env = "LANDFALL_ACCESS_LOG", default_value = "-", value_name = "PATH")]
    pub access_log: String,
    /// Longest wait for calls in flight when asked to end, in seconds.
    #[arg(long, env = "LANDFALL_DRAIN_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub drain_seconds: u64,
}

/// Whether callers have to come by mutual TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MutualTlsMode {
    /// Mutual TLS or plain text, as the caller begins.
    Permissive,
    /// Mutual TLS alone.
    Strict,
}

/// Where an identity is.
#[derive(Clone, Debug, Args)]
pub struct IdentityPlace {
    /// Directory of the identity to show to others [default: none, plain text alone].
    #[arg(long = "identity", env = "LANDFALL_IDENTITY", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Whose identities are believed.
    #[arg(
        long,
        env = "LANDFALL_TRUST_DOMAIN",
        default_value = "landfall.internal",
        value_name = "DOMAIN"
    )]
    pub trust_domain: String,
}

/// `landfall identity`
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IdentityCommand,
}

/// What is done about identities.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Make a key, have the authority in a directory sign its certificate, and write both with the authority's root.
    Issue(IssueArgs),
}

/// `landfall identity issue`
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Directory of the authority; begun if there is none. Its key never leaves it.
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// Whose identity, as `orders.eureka`.
    #[arg(long, value_name = "SERVICE.REGISTRY", value_parser = service_id)]
    pub service: ServiceId,
    /// Where it is written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The authority's trust domain.
    #[arg(
        long,
        env = "LANDFALL_TRUST_DOMAIN",
        default_value = "landfall.internal",
        value_name = "DOMAIN"
    )]
    pub trust_domain: String,
    /// How long it is good for, in hours; at most a year.
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
    pub hours: u64,
}

fn service_id(text: &str) -> Result<ServiceId, String> {
    let parts = text.rsplit_once('.').and_then(|(name, registry)| {
        let registry = RegistryName::new(registry).ok()?;
        (!name.is_empty()).then(|| ServiceId::new(registry, name))
    });
    parts.ok_or_else(|| format!("`{text}` is no service of a registry: write for example orders.eureka"))
}

/// `landfall up`, `landfall gateway`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// A configuration file, or a directory of them.
    #[arg(long, env = "LANDFALL_CONFIG", value_name = "PATH")]
    pub config: PathBuf,
    /// Address of the admin server. It has no login: keep it on loopback.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// Where the last good view of each registry is kept [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/landfall,
    /// else ~/.local/state/landfall].
    #[arg(long, env = "LANDFALL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Names this Landfall in the records it writes; all processes that follow the same configuration have the same one.
    #[arg(long, env = "LANDFALL_CLUSTER", default_value = "landfall", value_name = "NAME")]
    pub cluster: String,
    /// Elect the one process of the cluster that writes to registries, by a lock in this registry (consul or
    /// zookeeper) [default: no election, this process writes].
    #[arg(long, env = "LANDFALL_ELECT_IN", value_name = "REGISTRY")]
    pub elect_in: Option<String>,
    /// Threads that carry traffic [default: one a core].
    #[arg(long, env = "LANDFALL_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    #[command(flatten)]
    pub identity: IdentityPlace,
    /// One JSON line a request: a file, `-` for standard output, or `off`.
    #[arg(long, env = "LANDFALL_ACCESS_LOG", default_value = "-", value_name = "PATH")]
    pub access_log: String,
    /// Bind another port than the listener says, such as `80=8080`; redirects still name the listener's.
    #[arg(long, value_name = "PORT=PORT", value_parser = port_pair)]
    pub map_port: Vec<(u16, u16)>,
    /// Longest wait for calls in flight when asked to end, in seconds.
    #[arg(long, env = "LANDFALL_DRAIN_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub drain_seconds: u64,
}

fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text
        .split_once('=')
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is no pair of ports: write for example 80=8080"))
}

/// `landfall validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A configuration file, or a directory of them.
    pub path: PathBuf,
    /// How the problems are printed.
    #[arg(short, long, default_value = "text")]
    pub output: ValidateOutput,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ValidateOutput {
    /// One line each.
    Text,
    /// One JSON array.
    Json,
}

/// `landfall explain`
#[derive(Debug, Args)]
#[command(override_usage = "landfall explain [OPTIONS] [METHOD] URL")]
pub struct ExplainArgs {
    /// Explain this configuration, with its registries as they are now. Without it a running Landfall is asked.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The running Landfall to ask.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// Longest wait for the registries, in seconds, with --config.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub wait: u64,
    /// The request's method, GET unless given, and its URL, such as `http://shop.example/orders/1`. A call of Dubbo's is a URL
    /// alone: `dubbo://gateway:20880/org.example.Greeter?version=1.0.0&method=hello&attachment.user=7`.
    #[arg(value_name = "[METHOD] URL", required = true, num_args = 1..=2)]
    pub asked: Vec<String>,
    /// A header, `Name: value`. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// An argument of a Dubbo call as text, such as `Ann`, `42` or `true`. May be repeated, in the order of the parameters.
    #[arg(long = "argument", value_name = "TEXT", allow_hyphen_values = true)]
    pub arguments: Vec<String>,
    /// How it is printed.
    #[arg(short, long, default_value = "text")]
    pub output: Output,
}

impl ExplainArgs {
    /// Method and URL, if there are no more words than that.
    pub fn method_and_url(&self) -> Option<(&str, &str)> {
        match &self.asked[..] {
            [url] => Some(("GET", url)),
            [method, url] => Some((method, url)),
            _ => None,
        }
    }
}

/// `landfall get`
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to list.
    pub what: Listing,
    /// The running Landfall to ask.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// How it is printed.
    #[arg(short, long, default_value = "text")]
    pub output: Output,
}

/// What `get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Registries: their session, age, holds, quarantined records.
    Registries,
    /// Services of every registry.
    Services,
    /// Endpoints of every cluster that a route uses.
    Endpoints,
    /// Routes and what their backends stand for.
    Routes,
    /// Listeners and whether they are bound.
    Listeners,
    /// Where clients are answered in registries' own protocols, by whom and how often.
    Facades,
    /// Rules for calls that operators keep in a registry itself (Dubbo's), and how far each is honoured.
    Governance,
    /// Names that several registries claim, and records that are not written because their name is taken.
    Conflicts,
    /// The configuration in force, and the last one refused.
    Config,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For people, with more columns.
    Wide,
    /// For programs; stable.
    Json,
    /// The same as JSON, as YAML.
    Yaml,
}

/// `landfall why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// `name.registry`, or a name alone.
    pub service: String,
    /// `ip:port` or an instance id.
    pub endpoint: Option<String>,
    /// The running Landfall to ask.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// How it is printed.
    #[arg(short, long, default_value = "text")]
    pub output: Output,
}

/// `landfall sync`
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SyncCommand,
}

/// What `sync` does.
#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Show every addition, change, removal and conflict of the RegistrySyncs, before anything is written.
    Plan(SyncLookArgs),
    /// Write what RegistrySyncs with `mode: plan` wait to write.
    Apply(SyncApplyArgs),
    /// Tell who writes, and how far each target is.
    Status(SyncLookArgs),
}

/// `landfall sync plan`, `landfall sync status`
#[derive(Debug, Args)]
pub struct SyncLookArgs {
    /// The running Landfall to ask.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
    /// How it is printed.
    #[arg(short, long, default_value = "text")]
    pub output: Output,
}

/// `landfall sync apply`
#[derive(Debug, Args)]
pub struct SyncApplyArgs {
    /// The plan's digest, as `sync plan` shows it; refused if the plan is another one by now. Without it the plan is
    /// shown and you are asked.
    #[arg(value_name = "DIGEST")]
    pub plan: Option<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// The running Landfall to tell.
    #[arg(
        long,
        env = "LANDFALL_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "IP:PORT"
    )]
    pub admin: SocketAddr,
}

/// `landfall check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A configuration file, or a directory of them.
    #[arg(long, env = "LANDFALL_CONFIG", value_name = "PATH")]
    pub config: PathBuf,
    /// Longest wait for each registry, in seconds.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub wait: u64,
    /// Bind another port than the listener says, such as `80=8080`.
    #[arg(long, value_name = "PORT=PORT", value_parser = port_pair)]
    pub map_port: Vec<(u16, u16)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn explain_takes_a_url_with_or_without_method_wherever_options_stand() {
        let asked = |words: &[&str]| {
            let words = ["landfall", "explain"].iter().chain(words);
            match Cli::try_parse_from(words).map(|cli| cli.command) {
                Ok(Command::Explain(args)) => args
                    .method_and_url()
                    .map(|(method, url)| format!("{method} {url} {:?}", args.arguments)),
                _ => None,
            }
        };
        assert_eq!(asked(&["PUT", "http://a/"]).unwrap(), "PUT http://a/ []");
        assert_eq!(asked(&["PUT", "-H", "x: y", "http://a/"]).unwrap(), "PUT http://a/ []");
        assert_eq!(asked(&["http://a/", "-H", "x: y"]).unwrap(), "GET http://a/ []");
        assert_eq!(
            asked(&["--argument", "-1", "dubbo://a/b.C", "--argument", "x"]).unwrap(),
            "GET dubbo://a/b.C [\"-1\", \"x\"]"
        );
        for wrong in [&[][..], &["a", "b", "c"], &["a", "-H", "x: y", "b", "-H", "x: y", "c"]] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_port_pair_that_is_none_is_refused_with_an_example() {
        assert_eq!(port_pair("80=8080"), Ok((80, 8080)));
        for bad in ["80", "80=", "a=b", "80=99999"] {
            assert!(port_pair(bad).is_err_and(|why| why.contains("80=8080")), "{bad}");
        }
    }
}
