//! Who a process is in the mesh: found on disk for those that run, and made by `landfall identity issue`.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use landfall_identity::{Ca, HostKey, SpiffeId, Store, TrustDomain};
use landfall_sidecar::identity::{Followed, follow};

use crate::{
    args::{IdentityArgs, IdentityCommand, IdentityPlace, IssueArgs},
    outcome::{Failure, chain},
};

/// An identity to read.
pub struct Who {
    /// Where.
    pub directory: PathBuf,
    /// Whose.
    pub trust_domain: TrustDomain,
}

impl Who {
    /// As the command line says it.
    pub fn of(place: IdentityPlace) -> Result<Option<Self>, Failure> {
        let trust_domain = domain(&place.trust_domain)?;
        Ok(place.directory.map(|directory| Self {
            directory,
            trust_domain,
        }))
    }

    /// Reads it, and keeps up with its file.
    pub fn follow(&self) -> Result<Followed, Failure> {
        follow(&self.directory, self.trust_domain.clone()).map_err(|error| Failure::No(chain(&error)))
    }
}

fn domain(text: &str) -> Result<TrustDomain, Failure> {
    TrustDomain::new(text).map_err(|error| Failure::Usage(format!("--trust-domain: {error}")))
}

/// `landfall identity`
pub fn identity(args: &IdentityArgs) -> Result<(), Failure> {
    match &args.command {
        IdentityCommand::Issue(args) => issue(args),
    }
}

fn issue(args: &IssueArgs) -> Result<(), Failure> {
    let no = |error: &dyn std::error::Error| Failure::No(chain(error));
    let (now, life) = (SystemTime::now(), Duration::from_secs(args.hours * 3600));
    let domain = domain(&args.trust_domain)?;
    let id = SpiffeId::of_service(&domain, args.service.registry.as_str(), &args.service.name)
        .map_err(|error| Failure::Usage(format!("--service: {error}")))?;
    let ca = Ca::open(&args.authority, domain.clone(), life, now).map_err(|error| no(&error))?;
    let key = HostKey::generate().map_err(|error| no(&error))?;
    let request = key.request(&id).map_err(|error| no(&error))?;
    let certificate = ca.issue(&id, &request, now).map_err(|error| no(&error))?;
    let store = Store::open(&args.out, domain).map_err(|error| no(&error))?;
    let identity = store
        .save(&[certificate], &key, &ca.roots(), now)
        .map_err(|error| no(&error))?;
    let until = httpdate::fmt_http_date(identity.not_after());
    println!("{} in {}, good until {until}", identity.id(), args.out.display());
    Ok(())
}
