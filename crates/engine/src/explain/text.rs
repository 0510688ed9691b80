//! An explanation as lines for a terminal.

use std::fmt::{Display, Formatter, Result};

use super::{Explanation, Outcome};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let request = &self.request;
        let query = request
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        writeln!(
            f,
            "{} {}://{}:{}{}{query}",
            request.method, request.scheme, request.host, request.port, request.path
        )?;
        match &self.outcome {
            Outcome::Forwarded => writeln!(f, "  is forwarded")?,
            Outcome::Redirected { status, location } => writeln!(f, "  is redirected: {status} to {location}")?,
            Outcome::Answered { status, why } => writeln!(f, "  is answered {status}: {why}")?,
        }
        if let Some(listener) = &self.listener {
            writeln!(f, "listener  {listener}")?;
        }
        if let Some(route) = &self.route {
            let name = route.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            writeln!(
                f,
                "route     {}, rule {}{name}: {}",
                route.route, route.rule, route.matched
            )?;
            for filter in &route.filters {
                writeln!(f, "filter    {filter}")?;
            }
        }
        for backend in &self.backends {
            writeln!(
                f,
                "backend   {} gets {:.1} % as {}{}",
                backend.backend, backend.share, backend.host, backend.path
            )?;
            for filter in &backend.filters {
                writeln!(f, "  filter  {filter}")?;
            }
            if let Some(location) = &backend.redirect {
                writeln!(f, "  redirected to {location}")?;
            }
            if let Some(missing) = &backend.missing {
                writeln!(f, "  missing {missing}; answered 500")?;
            }
            for endpoint in backend.cluster.iter().flat_map(|cluster| &cluster.endpoints) {
                write!(
                    f,
                    "  {}  weight {}  from {}",
                    endpoint.address, endpoint.weight, endpoint.origin
                )?;
                match endpoint.ejected_for_millis {
                    Some(rest) => writeln!(f, "  ejected for {:.1} s more", rest as f64 / 1e3)?,
                    None => writeln!(f)?,
                }
            }
        }
        for other in &self.others {
            writeln!(
                f,
                "not       {}, rule {}: {}: {}",
                other.route, other.rule, other.matches, other.why
            )?;
        }
        if self.more_others > 0 {
            writeln!(f, "not       {} more", self.more_others)?;
        }
        for note in &self.notes {
            writeln!(f, "note      {note}")?;
        }
        Ok(())
    }
}
