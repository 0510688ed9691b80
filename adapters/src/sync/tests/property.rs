//! Random registries, clusters and histories: in the end the records are those of the specification, nothing is
//! written any more, and no record was ever its own ancestor.
//!
//! A failure is printed as a scenario with its steps, shrunk; `PROPTEST_CASES` runs more than the default.

use proptest::prelude::*;

use super::{
    simulation::{Cluster, EdgeOf, Native, Scenario, Simulation, Site, Step},
    specification::{Spec, fixed_point},
    *,
};

const SERVICES: [&str; 3] = ["s", "S", "t"];

fn scenario() -> impl Strategy<Value = Scenario> {
    (prop::collection::vec(prop::bool::weighted(0.15), 2..=6), 1usize..=3).prop_flat_map(|(drops, clusters)| {
        let sites: Vec<Site> = drops
            .iter()
            .enumerate()
            .map(|(n, drops_marks)| Site {
                name: format!("r{n}"),
                drops_marks: *drops_marks,
            })
            .collect();
        let names: Vec<String> = sites.iter().map(|site| site.name.clone()).collect();
        prop::collection::vec(cluster(names), clusters).prop_map(move |mut clusters| {
            for (n, cluster) in clusters.iter_mut().enumerate() {
                cluster.name = format!("c{n}");
            }
            Scenario {
                sites: sites.clone(),
                clusters,
            }
        })
    })
}

fn cluster(names: Vec<String>) -> impl Strategy<Value = Cluster> {
    let count = names.len();
    let mesh = prop::collection::vec(any::<bool>(), count);
    let edge = (
        0..count,
        0..count,
        prop_oneof![3 => Just(""), 1 => Just("x")],
        prop_oneof![3 => Just(""), 1 => Just("t")],
    );
    let edges = prop::collection::vec(edge, 0..8);
    (mesh, edges, prop::collection::vec(any::<bool>(), count)).prop_map(move |(mesh, edges, follows)| {
        let inside: Vec<&String> = names
            .iter()
            .zip(&mesh)
            .filter(|(_, is_in)| **is_in)
            .map(|(name, _)| name)
            .collect();
        let pairs = inside.iter().flat_map(|from| inside.iter().map(move |to| (from, to)));
        let meshed = pairs.map(|(from, to)| EdgeOf {
            from: (*from).clone(),
            to: (*to).clone(),
            prefix: "",
            exclude: "",
        });
        let single = edges.iter().map(|(from, to, prefix, exclude)| EdgeOf {
            from: names[*from].clone(),
            to: names[*to].clone(),
            prefix,
            exclude,
        });
        // One edge for each pair: several documents for one would have to agree.
        let mut all: Vec<EdgeOf> = Vec::new();
        for edge in meshed.chain(single) {
            let is_new = !all
                .iter()
                .any(|known| (&known.from, &known.to) == (&edge.from, &edge.to));
            if edge.from != edge.to && is_new {
                all.push(edge);
            }
        }
        let linked = all.iter().flat_map(|edge| [edge.from.clone(), edge.to.clone()]);
        let more = names
            .iter()
            .zip(&follows)
            .filter(|(_, follows)| **follows)
            .map(|(name, _)| name.clone());
        Cluster {
            name: String::new(),
            follows: linked.chain(more).collect(),
            edges: all,
        }
    })
}

fn native() -> impl Strategy<Value = Native> {
    let protocol = prop_oneof![3 => Just(None), 1 => Just(Some("http")), 1 => Just(Some("dubbo"))];
    (
        0u8..6,
        0usize..SERVICES.len(),
        0u8..2,
        1u8..4,
        protocol,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(registry, service, id, address, protocol, unfit)| Native {
            registry: registry.to_string(),
            service: SERVICES[service].to_owned(),
            id: format!("i{id}"),
            address,
            protocol,
            unfit,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let cluster = || 0u8..3;
    let site = || 0u8..6;
    prop_oneof![
        4 => native().prop_map(Step::Come),
        2 => any::<prop::sample::Index>().prop_map(Step::Go),
        8 => (cluster(), site(), 0u8..4).prop_map(|(cluster, site, lag)| Step::See { cluster, site, lag }),
        5 => (cluster(), any::<u32>()).prop_map(|(cluster, mask)| Step::Write { cluster, mask }),
        3 => cluster().prop_map(|cluster| Step::Write { cluster, mask: u32::MAX }),
        1 => cluster().prop_map(|cluster| Step::WriteLate { cluster }),
        1 => (cluster(), any::<bool>()).prop_map(|(cluster, keeps_ledger)| Step::Restart { cluster, keeps_ledger }),
        1 => site().prop_map(|site| Step::Empty { site }),
        1 => (cluster(), site(), any::<bool>()).prop_map(|(cluster, site, is_live)| Step::Session { cluster, site, is_live }),
    ]
}

/// What is there in the end, in the words of [`Simulation::copies`].
fn expected(scenario: &Scenario, natives: &[Native]) -> BTreeMap<String, BTreeSet<String>> {
    let written = fixed_point(scenario, natives);
    let of_site = |site: &Site| {
        let text = |spec: &Spec| {
            let of = format!("{} 10.0.0.{}", spec.service, spec.native.address);
            match site.drops_marks {
                true => of,
                false => format!("{} {} {of}", spec.cluster, spec.path.join(",")),
            }
        };
        let records = written.get(&site.name).map_or(&[][..], Vec::as_slice);
        (site.name.clone(), records.iter().map(text).collect())
    };
    scenario.sites.iter().map(of_site).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::with_cases(400) })]
    #[test]
    fn every_history_ends_in_the_fixed_point_and_then_nothing_is_written(
        scenario in scenario(), steps in prop::collection::vec(step(), 0..50)
    ) {
        let mut simulation = Simulation::new(&scenario);
        for step in &steps {
            simulation.step(step)?;
        }
        let writes = simulation.quiet()?;
        prop_assert_eq!(simulation.copies(), expected(&scenario, &simulation.natives));
        prop_assert_eq!(writes, 0, "writes after convergence");
    }
}
